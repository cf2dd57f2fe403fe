"""Effects on stems: what studios, rooms, codecs and players do to sound, by chance.

All effects take sources (…, stems, channels, samples), a sample rate in Hz, the
probability of 0 … 1 that a stem is changed, limits of what is drawn, and a generator.
They return new sources of the same shape, type and device; the input does not change.
The same state of the generator gives the same result, on any device. A silent stem
stays silent. InputError: there is no stem axis, the type is not a float type, or an
argument is out of range.

    random_eq      louder and softer bands, as of a mixing desk        on any device
    random_reverb  the sound of a room                                 on any device
    random_clip    the soft distortion of a tape or a tube             on any device
    random_noise   white or pink noise                                 on any device
    random_shift   earlier or later                                    on any device
    random_pitch   higher or lower, at the same tempo                  CPU, one by one
    random_tempo   faster or slower, at the same pitch                 CPU, one by one
    random_speed   faster and higher, or slower and lower              CPU, one by one
    random_codec   the losses of MP3 or AAC                            CPU, one by one
    mixup          two recordings of one stem at once                  on any device

The mixture of changed sources is their sum: compute it afterwards. A codec or a clipped
mixture would not be a sum of stems. Notebook: 05.

Source of the choice and of most limits: the augmentations of Roman Solovyev's
Music-Source-Separation-Training (MSST), docs/augmentations.md. Shift: Défossez et al.
2019, "Music source separation in the waveform domain", and its code.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor

from mssedu.data.augment import chosen_stems
from mssedu.data.chances import Limits, changed, check_limits, drawn, each
from mssedu.data.filters import biquad, biquad_response
from mssedu.data.lossy import CODECS, round_trip
from mssedu.data.playing import random_pitch, random_speed, random_tempo
from mssedu.errors import InputError, check_name, check_range

# Kind and limits of the frequency of each band of `random_eq`, Hz
_BANDS = (
    ("low_shelf", 40.0, 300.0),
    ("peak", 100.0, 800.0),
    ("peak", 400.0, 3000.0),
    ("peak", 1500.0, 8000.0),
    ("high_shelf", 3000.0, 12000.0),
)
_EQ_TAIL = 0.25  # seconds, after which every band has decayed by more than 60 dB
_FLAT_HZ = 20.0  # below it pink noise is flat: its power would grow without end


# ---- filters, noise and time: whole batches on any device ----------------------------


def random_eq(
    sources: Tensor,
    sample_rate: int,
    *,
    probability: float = 1.0,
    gain_db: Limits = (-9.0, 9.0),
    generator: torch.Generator,
) -> Tensor:
    """Change the balance of low, middle and high: two shelves and three peaks.

    Each band has its own frequency and gain, and the peaks have a quality of 0.5 … 2.

    Args:
        gain_db: limits of the gain of each band, dB; the default is MSST's for vocals.

    Example:
        >>> stems, generator = torch.ones(4, 2, 9), torch.Generator().manual_seed(0)
        >>> same = random_eq(stems, 44100, gain_db=(0, 0), generator=generator)
        >>> torch.allclose(same, stems)
        True

    Source of the filters: see `mssedu.data.filters`.
    """
    check_limits("gain_db", gain_db, -60, 60)

    def change(stems: Tensor) -> Tensor:
        n = next_fast_len(stems.shape[-1] + math.ceil(_EQ_TAIL * sample_rate), True)
        spectrum = torch.fft.rfft(stems, n)
        for kind, *hertz in _BANDS:
            logs = [math.log(min(hz, 0.45 * sample_rate)) for hz in hertz]
            frequency = drawn(stems, (logs[0], logs[1]), generator).exp()
            quality = 2 ** drawn(stems, (-1.0, 1.0), generator)
            if kind != "peak":
                quality = torch.full_like(
                    quality, 0.5**0.5
                )  # the steepest without peak
            gain = drawn(stems, gain_db, generator)
            values = (value[..., 0] for value in (frequency, gain, quality))
            b, a = biquad(kind, sample_rate, *values)
            spectrum *= biquad_response(b, a, n, spectrum.device).to(spectrum)
        return torch.fft.irfft(spectrum, n)[..., : stems.shape[-1]]

    return changed(sources, sample_rate, probability, generator, change)


def random_reverb(
    sources: Tensor,
    sample_rate: int,
    *,
    probability: float = 1.0,
    decay_seconds: Limits = (0.2, 1.5),
    wet_db: Limits = (-20.0, -6.0),
    generator: torch.Generator,
) -> Tensor:
    """Add the sound of a room: a convolution with noise that decays exponentially.

    Each channel has its own noise, so that a mono stem becomes wide. What would sound
    after the end of the excerpt is cut off.

    Args:
        decay_seconds: limits of the time in which the reverberation decays by 60 dB,
            from a small room to a hall.
        wet_db: limits of the energy of the room's response, dB relative to that of the
            direct sound, which stays as it is.

    Source: Moorer 1979, "About this reverberation business".
    """
    check_limits("decay_seconds", decay_seconds, 0.01, 20)
    check_limits("wet_db", wet_db, -120, 60)

    def change(stems: Tensor) -> Tensor:
        length = math.ceil(decay_seconds[1] * sample_rate)
        seconds = torch.arange(1, length + 1, device=stems.device) / sample_rate
        decay = drawn(stems, decay_seconds, generator)
        room = _noise((*stems.shape[:-1], length), stems, generator)
        room *= 10 ** (-3 * seconds.to(stems) / decay)
        room *= 10 ** (drawn(stems, wet_db, generator) / 20) / room.norm(
            dim=-1, keepdim=True
        )
        n = next_fast_len(stems.shape[-1] + length, True)
        wet = torch.fft.irfft(torch.fft.rfft(stems, n) * torch.fft.rfft(room, n), n)
        # The response begins one sample after the direct sound.
        return stems + F.pad(wet, (1, 0))[..., : stems.shape[-1]]

    return changed(sources, sample_rate, probability, generator, change)


def random_clip(
    sources: Tensor,
    sample_rate: int,
    *,
    probability: float = 1.0,
    drive_db: Limits = (0.0, 20.0),
    generator: torch.Generator,
) -> Tensor:
    """Distort a stem softly, with a hyperbolic tangent. Its RMS stays the same.

    Args:
        sample_rate: is not used; all effects take the same arguments.
        drive_db: limits of the gain before the tangent, dB, where 0 dB brings the peak
            of the stem to 1. MSST takes 1 … 25 dB.
    """
    check_limits("drive_db", drive_db, -60, 60)

    def change(stems: Tensor) -> Tensor:
        peak = stems.abs().amax((-2, -1), keepdim=True)
        drive = 10 ** (drawn(stems, drive_db, generator) / 20)
        clipped = (stems * (drive / _positive(peak))).tanh()
        return clipped * (_rms(stems) / _positive(_rms(clipped)))

    return changed(sources, sample_rate, probability, generator, change)


def random_noise(
    sources: Tensor,
    sample_rate: int,
    *,
    probability: float = 1.0,
    snr_db: Limits = (20.0, 60.0),
    color: str = "white",
    generator: torch.Generator,
) -> Tensor:
    """Add noise to a stem, as of an old recording. The noise is part of the stem then.

    Args:
        snr_db: limits of the level of the stem, dB relative to that of the noise; MSST
            takes noise of -60 … -36 dB relative to full scale.
        color: "white", or "pink" with equal power in each octave above 20 Hz.

    Raises:
        InputError: an unknown color, and what all effects refuse.
    """
    check_limits("snr_db", snr_db, -120, 240)
    check_name("color", color, ("white", "pink"))

    def change(stems: Tensor) -> Tensor:
        snr = drawn(stems, snr_db, generator)
        noise = _noise(tuple(stems.shape), stems, generator)
        if color == "pink":
            spectrum = torch.fft.rfft(noise)
            hertz = torch.fft.rfftfreq(noise.shape[-1], 1 / sample_rate)
            spectrum *= hertz.clamp_min(_FLAT_HZ).rsqrt().to(stems)
            noise = torch.fft.irfft(spectrum, noise.shape[-1])
        return stems + noise * (_rms(stems) / _rms(noise) * 10 ** (-snr / 20))

    return changed(sources, sample_rate, probability, generator, change)


def random_shift(
    sources: Tensor,
    sample_rate: int,
    *,
    probability: float = 1.0,
    max_seconds: float = 1.0,
    generator: torch.Generator,
) -> Tensor:
    """Shift a stem in time; what leaves the excerpt at one end enters at the other.

    Args:
        max_seconds: the largest shift to either side, seconds; Demucs takes 1.
    """
    check_range("max_seconds", max_seconds, 0, 3600)

    def change(stems: Tensor) -> Tensor:
        seconds = drawn(stems, (-max_seconds, max_seconds), generator)
        n = (seconds * sample_rate).round().long()
        places = torch.arange(stems.shape[-1], device=stems.device) - n
        return stems.gather(-1, (places % stems.shape[-1]).expand_as(stems))

    return changed(sources, sample_rate, probability, generator, change)


def mixup(
    sources: Tensor,
    others: Tensor,
    *,
    probability: float = 0.2,
    gain_db: Limits = (-6.0, 3.5),
    generator: torch.Generator,
) -> Tensor:
    """Add another recording of the same stem: two singers, two guitars.

    Args:
        others: of the same shape; in a batch, that of the neighbor: sources.roll(1, 0).
        probability, gain_db: of the other recording, and limits of its gain, dB; the
            defaults are MSST's.

    Raises:
        InputError: another shape, and what all effects refuse.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> voices = torch.ones(2, 1, 1, 1)
        >>> other = voices.roll(1, 0)
        >>> mixup(voices, other, probability=0, generator=generator).flatten()
        tensor([1., 1.])
    """
    check_limits("gain_db", gain_db, -120, 60)
    if others.shape != sources.shape:
        raise InputError(
            f"others must have the shape of sources, {tuple(sources.shape)}, got "
            f"{tuple(others.shape)}. Use for example sources.roll(1, 0)."
        )
    picked = chosen_stems(sources, probability, generator)
    gain = 10 ** (drawn(picked, gain_db, generator).to(sources) / 20)
    return torch.where(picked, sources + gain * others, sources)


# ---- codecs: a library that takes one stem at a time ---------------------------------


def random_codec(
    sources: Tensor,
    sample_rate: int,
    *,
    probability: float = 1.0,
    kbps: Limits = (64.0, 320.0),
    codecs: Sequence[str] = ("mp3", "aac"),
    generator: torch.Generator,
) -> Tensor:
    """Encode and decode a stem with MP3 or AAC, in memory and without delay.

    A stem with a peak above full scale is scaled down for the codec, and up afterwards.

    Args:
        kbps: limits of the bitrate, kbit/s; the encoder takes the nearest that it has.
            MSST takes 32 … 320.
        codecs: of which one is chosen for each stem.

    Raises:
        InputError: an unknown codec, a sample rate or a number of channels that the
            codec does not have, and what all effects refuse.
    """
    check_limits("kbps", kbps, 8, 512)
    if not codecs:
        raise InputError("codecs must name at least one codec, got none.")
    for name in codecs:
        check_name("codec", name, CODECS)

    def coded(audio: NDArray[np.float32], draw: float) -> NDArray[np.float32]:
        number, share = divmod(draw, 1)  # which codec, and where between the limits
        scale = max(float(np.abs(audio).max()), 1.0)
        bitrate = 1000 * (kbps[0] + share * (kbps[1] - kbps[0]))
        codec = codecs[int(number)]
        return scale * round_trip(audio / scale, sample_rate, codec, round(bitrate))

    def change(stems: Tensor) -> Tensor:
        return each(
            stems, sample_rate, drawn(stems, (0, len(codecs)), generator), coded
        )

    return changed(sources, sample_rate, probability, generator, change)


# ---- levels and noise ----------------------------------------------------------------


def _noise(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """White noise of power 1, on the device and in the precision of `like`."""
    return torch.randn(shape, generator=generator, device=generator.device).to(like)


def _rms(stems: Tensor) -> Tensor:
    return stems.square().mean((-2, -1), keepdim=True).sqrt()


def _positive(level: Tensor) -> Tensor:
    """The same level, so that a silent stem is divided by 1."""
    return torch.where(level > 0, level, torch.ones_like(level))


# ---- effects by name -----------------------------------------------------------------

EFFECTS: dict[str, Callable[..., Tensor]] = {
    "eq": random_eq,
    "reverb": random_reverb,
    "clip": random_clip,
    "noise": random_noise,
    "shift": random_shift,
    "pitch": random_pitch,
    "tempo": random_tempo,
    "speed": random_speed,
    "codec": random_codec,
}


def apply_effects(
    sources: Tensor,
    sample_rate: int,
    effects: Sequence[str],
    *,
    probability: float,
    generator: torch.Generator,
) -> Tensor:
    """Apply effects by their names in EFFECTS, in this order, with their usual limits.

    Args:
        sources: (…, stems, channels, samples).
        sample_rate: Hz.
        probability: 0 … 1, of each effect for each stem.

    Raises:
        InputError: an unknown effect, and what the effects refuse.
    """
    for name in effects:
        effect = EFFECTS[check_name("effect", name, EFFECTS)]
        sources = effect(
            sources, sample_rate, probability=probability, generator=generator
        )
    return sources
