"""Anchors: versions that are degraded on purpose, to mark the lower end of a scale.

    for codecs:
    anchor35, anchor70   low-pass of the reference at 3.5 or 7 kHz
    for separators:
    mixture              the song before separation
    interference         reference + all other sources, equally loud
    artifacts            reference + musical noise, equally loud
    sound_quality        low-pass of (80 % of the frames + musical noise)

A low-pass barely changes a bass, so listeners would confuse that anchor with the
reference; hence the anchors for separation. Musical noise is a spectrogram in which
99 % of the bins are set to 0. Every anchor has the length of its reference and no
delay. Parts that are added are equally loud, and their sum is as loud as the reference.

Sources: ITU-R BS.1534-3 (low-pass); Emiya, Vincent, Harlander, Hohmann 2011,
"Subjective and objective quality assessment of audio source separation" (interference,
artifacts); Ward, Wierstorf, Mason, Grais, Plumbley 2018, "BSS Eval or PEASS? Predicting
the perception of singing-voice separation" (mixture, sound_quality). Notebook: 13.
"""

import torch
from scipy.signal import firwin, oaconvolve
from torch import Tensor

from mssedu.errors import InputError, check_name, check_range
from mssedu.listening.test.design import ANCHORS
from mssedu.listening.widgets.loudness import measured_lufs
from mssedu.spectral import istft, stft

CUTOFFS_HZ = {"anchor35": 3500.0, "anchor70": 7000.0}
TRANSITION_HZ = 500.0  # between the passband and the stopband
TAP_SECONDS = 401 / 44100  # length of the filter
KAISER_BETA = 6.5  # a larger value: less ripple and a wider transition
N_FFT, HOP_LENGTH = 2048, 512  # of the spectrogram for musical noise
FRAMES_LOST, BINS_LOST = 0.2, 0.99  # shares that are set to 0


def make_anchor(
    name: str,
    sample_rate: int,
    *,
    reference: Tensor | None,
    mixture: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """An anchor by its name.

    Args:
        name: one of the list at the top of this file.
        sample_rate: Hz.
        reference: true stem, (channels, samples); "mixture" does not need it.
        mixture: the song, same shape, for "mixture" and "interference".
        seed: of the random frames and bins.

    Raises:
        InputError: an unknown name, or a sound that the anchor needs is missing.
    """
    check_name("anchor", name, ANCHORS)
    parts = {"reference": reference, "mixture": mixture}
    for part in ANCHORS[name]:
        if parts[part] is None:
            needed = " and a ".join(ANCHORS[name])
            raise InputError(f"the anchor {name} needs a {needed}: {part} is missing.")
    if name == "mixture":
        assert mixture is not None
        return mixture
    assert reference is not None
    if name in CUTOFFS_HZ:
        return lowpass(reference, sample_rate, CUTOFFS_HZ[name])
    if name == "interference":
        assert mixture is not None
        return _equal_sum(reference, reference, mixture - reference, sample_rate)
    noise = musical_noise(reference, seed=seed)
    if name == "artifacts":
        return _equal_sum(reference, reference, noise, sample_rate)
    thinned = lowpass(without_frames(reference, seed=seed), sample_rate)
    return _equal_sum(reference, thinned, lowpass(noise, sample_rate), sample_rate)


def check_anchor(name: str, sample_rate: int) -> None:
    """Raise InputError for an anchor that sounds of a rate in Hz cannot have."""
    if name in CUTOFFS_HZ or name == "sound_quality":
        _check_rate(CUTOFFS_HZ.get(name, min(CUTOFFS_HZ.values())), sample_rate)


def lowpass_taps(sample_rate: int, cutoff_hz: float = 3500.0) -> Tensor:
    """A symmetric low-pass filter of odd length, (taps,), float64.

    It is flat within ±0.01 dB up to the cutoff, and below −60 dB from 500 Hz above the
    cutoff on. For 3.5 kHz, the standard requires ±0.1 dB, then −25 dB at 4 kHz and
    −50 dB from 4.5 kHz on.
    """
    check_range("cutoff_hz", cutoff_hz, 0, low_open=True)
    _check_rate(cutoff_hz, sample_rate)
    # An odd length makes the delay a whole number of samples.
    n_taps = 2 * round((TAP_SECONDS * sample_rate - 1) / 2) + 1
    middle = cutoff_hz + TRANSITION_HZ / 2
    taps = firwin(n_taps, middle, window=("kaiser", KAISER_BETA), fs=sample_rate)
    return torch.from_numpy(taps)


def lowpass(reference: Tensor, sample_rate: int, cutoff_hz: float = 3500.0) -> Tensor:
    """The part of a sound below a frequency, without delay.

    Args:
        reference: (channels, samples).
        sample_rate: Hz.
        cutoff_hz: end of the passband; the stopband starts 500 Hz above it.

    Raises:
        InputError: half the sample rate is not above the start of the stopband.
    """
    taps = lowpass_taps(sample_rate, cutoff_hz).numpy()[None]
    full = oaconvolve(reference.double().numpy(), taps, axes=-1)
    delay = taps.shape[-1] // 2  # samples that are cut off, to remove the delay
    aligned = full[..., delay : delay + reference.shape[-1]]
    return torch.from_numpy(aligned).to(reference.dtype)


def musical_noise(sound: Tensor, *, seed: int = 0) -> Tensor:
    """1 % of the bins of (channels, samples), which sound like short random tones."""
    return _with_losses(sound, BINS_LOST, 3, seed)


def without_frames(sound: Tensor, *, seed: int = 0) -> Tensor:
    """(channels, samples) after one in five frames of its spectrogram is set to 0."""
    return _with_losses(sound, FRAMES_LOST, 1, seed)


def _check_rate(cutoff_hz: float, sample_rate: int) -> None:
    stop = cutoff_hz + TRANSITION_HZ
    if stop >= sample_rate / 2:
        raise InputError(
            f"a low-pass of {cutoff_hz:g} Hz needs a sample rate above {2 * stop:g} "
            f"Hz, got {sample_rate} Hz. Choose other anchors for such sounds."
        )


def _with_losses(sound: Tensor, share: float, n_axes: int, seed: int) -> Tensor:
    """Set a random share of the spectrogram to 0, chosen along its last n axes."""
    spectrogram = stft(sound, N_FFT, HOP_LENGTH)
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(spectrogram.shape[-n_axes:], generator=generator) >= share
    return istft(spectrogram * mask, HOP_LENGTH, length=sound.shape[-1])


def _equal_sum(
    reference: Tensor, first: Tensor, second: Tensor, sample_rate: int
) -> Tensor:
    """The sum of two sounds, each and together as loud as the reference."""
    both = [_as_loud_as(reference, part, sample_rate) for part in (first, second)]
    return _as_loud_as(reference, both[0] + both[1], sample_rate)


def _as_loud_as(reference: Tensor, sound: Tensor, sample_rate: int) -> Tensor:
    """The sound at the loudness of the reference, if both can be measured."""
    target_lufs, lufs = (measured_lufs(s, sample_rate)[0] for s in (reference, sound))
    if target_lufs is None or lufs is None:
        return sound
    return sound * 10 ** ((target_lufs - lufs) / 20)
