"""Anchors: versions that are bad on purpose, so that a scale has a lower end.

    anchor35, anchor70   reference ─▶ low-pass 3.5 or 7 kHz           for codecs
    mixture              the song before separation                   for separators:
    interference         reference + all else, equally loud           what bleeds in
    artifacts            reference + musical noise, equally loud      what crackles
    sound_quality        low-pass of (80 % of the frames + musical noise)

Low-passed, a bass is still a bass: listeners cannot tell that anchor from the
reference. Hence those for separation. Musical noise is what is left of a spectrogram of
which 99 % of the bins are gone. Every anchor has the length of its reference and is not
a sample late; what is added up is equally loud, and as loud as the reference.

Sources: ITU-R BS.1534-3 (low-pass); Emiya, Vincent, Harlander, Hohmann 2011,
"Subjective and objective quality assessment of audio source separation" (interference,
artifacts); Ward, Wierstorf, Mason, Grais, Plumbley 2018, "BSS Eval or PEASS? Predicting
the perception of singing-voice separation" (mixture, sound_quality). Notebook: 13.
"""

import torch
from scipy.signal import firwin, oaconvolve
from torch import Tensor

from mssedu.errors import InputError, check_name, check_range, message
from mssedu.listening.test.design import ANCHORS
from mssedu.listening.widgets.loudness import measured_lufs
from mssedu.spectral import istft, stft

CUTOFFS_HZ = {"anchor35": 3500.0, "anchor70": 7000.0}
TRANSITION_HZ = 500.0  # between what passes and what does not
TAP_SECONDS = 401 / 44100  # length of the filter
KAISER_BETA = 6.5  # more: less ripple and a wider transition
N_FFT, HOP_LENGTH = 2048, 512  # of musical noise
FRAMES_LOST, BINS_LOST = 0.2, 0.99


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
        reference: true stem, (channels, samples); "mixture" does without.
        mixture: the song, same shape, for "mixture" and "interference".
        seed: of what is drawn at random.

    Raises:
        InputError: an unknown name, or a part that it needs is missing.
    """
    check_name("anchor", name, ANCHORS)
    parts = {"reference": reference, "mixture": mixture}
    missing = [part for part in ANCHORS[name] if parts[part] is None]
    if missing:
        remedy = "Give it, or choose another anchor."
        wanted = f"a {' and a '.join(ANCHORS[name])} for {name}"
        raise InputError(message("make_anchor", wanted, f"no {missing[0]}", remedy))
    if name == "mixture":
        assert mixture is not None
        return mixture
    assert reference is not None
    if name in CUTOFFS_HZ:
        return lowpass(reference, sample_rate, CUTOFFS_HZ[name])
    if name == "interference":
        assert mixture is not None
        return interference(reference, mixture, sample_rate)
    if name == "artifacts":
        noise = musical_noise(reference, seed=seed)
        return _equal_sum(reference, reference, noise, sample_rate)
    thinned = lowpass(without_frames(reference, seed=seed), sample_rate)
    noise = lowpass(musical_noise(reference, seed=seed), sample_rate)
    return _equal_sum(reference, thinned, noise, sample_rate)


def lowpass_taps(sample_rate: int, cutoff_hz: float = 3500.0) -> Tensor:
    """Filter of odd length, symmetric: it delays all frequencies by half its length.

    Within ±0.01 dB up to the cutoff, below −60 dB from 500 Hz above it on. The standard
    asks, for 3.5 kHz: ±0.1 dB, −25 dB at 4 kHz, −50 dB at 4.5 kHz.

    Args:
        sample_rate: Hz.
        cutoff_hz: up to here all passes.

    Raises:
        InputError: the sample rate holds nothing that the filter would take away.
    """
    stop = cutoff_hz + TRANSITION_HZ
    check_range("cutoff_hz", cutoff_hz, 0, low_open=True)
    if stop >= sample_rate / 2:
        remedy = "Choose other anchors for sounds without high frequencies."
        wanted = f"a sample rate above {2 * stop:g} Hz for a low-pass {cutoff_hz:g} Hz"
        raise InputError(message("lowpass", wanted, f"{sample_rate} Hz", remedy))
    n_taps = 2 * round((TAP_SECONDS * sample_rate - 1) / 2) + 1  # odd: delay is whole
    middle = cutoff_hz + TRANSITION_HZ / 2
    taps = firwin(n_taps, middle, window=("kaiser", KAISER_BETA), fs=sample_rate)
    return torch.from_numpy(taps)


def lowpass(reference: Tensor, sample_rate: int, cutoff_hz: float = 3500.0) -> Tensor:
    """The sound below a frequency, in time with the original.

    Args:
        reference: (channels, samples).
        sample_rate: Hz.
        cutoff_hz: up to here all passes; from 500 Hz above on, nothing.

    Raises:
        InputError: as `lowpass_taps`.
    """
    taps = lowpass_taps(sample_rate, cutoff_hz).numpy()[None]
    full = oaconvolve(reference.double().numpy(), taps, axes=-1)
    delay = taps.shape[-1] // 2  # cut off, or the anchor would come late
    kept = full[..., delay : delay + reference.shape[-1]]
    return torch.from_numpy(kept).to(reference.dtype)


def interference(reference: Tensor, mixture: Tensor, sample_rate: int) -> Tensor:
    """The true stem and all that is not it, equally loud.

    Args:
        reference, mixture: (channels, samples).
        sample_rate: Hz.
    """
    return _equal_sum(reference, reference, mixture - reference, sample_rate)


def musical_noise(sound: Tensor, *, seed: int = 0) -> Tensor:
    """1 % of the bins of a sound: short tones that come and go.

    Args:
        sound: (channels, samples).
        seed: of the bins that are kept.
    """
    spectrogram = stft(sound, N_FFT, HOP_LENGTH)
    kept = torch.rand(spectrogram.shape, generator=_generator(seed)) >= BINS_LOST
    return istft(spectrogram * kept, HOP_LENGTH, length=sound.shape[-1])


def without_frames(sound: Tensor, *, seed: int = 0) -> Tensor:
    """The sound after one in five frames of its spectrogram has been silenced.

    Args:
        sound: (channels, samples).
        seed: of the frames that are lost.
    """
    spectrogram = stft(sound, N_FFT, HOP_LENGTH)
    kept = torch.rand(spectrogram.shape[-1], generator=_generator(seed)) >= FRAMES_LOST
    return istft(spectrogram * kept, HOP_LENGTH, length=sound.shape[-1])


def _equal_sum(
    reference: Tensor, first: Tensor, second: Tensor, sample_rate: int
) -> Tensor:
    """Both as loud as the reference, and their sum too."""
    both = [_as_loud_as(reference, part, sample_rate) for part in (first, second)]
    return _as_loud_as(reference, both[0] + both[1], sample_rate)


def _as_loud_as(reference: Tensor, sound: Tensor, sample_rate: int) -> Tensor:
    """The sound at the loudness of the reference, where both can be measured."""
    wanted, found = (measured_lufs(s, sample_rate)[0] for s in (reference, sound))
    if wanted is None or found is None:
        return sound
    return sound * 10 ** ((wanted - found) / 20)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
