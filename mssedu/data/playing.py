"""Effects that play a stem higher, lower, faster or slower, one stem after the other.

    random_pitch   higher or lower, at the same tempo     phase vocoder of librosa
    random_tempo   faster or slower, at the same pitch    phase vocoder of librosa
    random_speed   both together, as a tape does          resampling with soxr

Arguments, result and errors are those of all effects, see `mssedu.data.effects`.

Source of the first two and of their limits: Défossez et al. 2019, "Music source
separation in the waveform domain", and its code.
"""

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from mssedu.data.chances import Limits, changed, check_limits, drawn, each

FASTEST = 1.12  # of tempo and speed: an excerpt this much longer fills its length


def random_pitch(
    sources: Tensor,
    sample_rate: int,
    *,
    probability: float = 1.0,
    semitones: Limits = (-2.0, 2.0),
    generator: torch.Generator,
) -> Tensor:
    """Shift the pitch of a stem with a phase vocoder, which smears drums a little.

    Args:
        semitones: limits of the shift; the default is that of Demucs.
    """
    import librosa

    check_limits("semitones", semitones, -24, 24)

    def shifted(audio: NDArray[np.float32], steps: float) -> NDArray[np.float32]:
        new = librosa.effects.pitch_shift(audio, sr=sample_rate, n_steps=steps)
        return _as_loud(new, audio)

    def change(stems: Tensor) -> Tensor:
        return each(stems, sample_rate, drawn(stems, semitones, generator), shifted)

    return changed(sources, sample_rate, probability, generator, change)


def random_tempo(
    sources: Tensor,
    sample_rate: int,
    *,
    probability: float = 1.0,
    rate: Limits = (0.88, FASTEST),
    generator: torch.Generator,
) -> Tensor:
    """Change the tempo of a stem with a phase vocoder; its beginning stays in place.

    A slower stem is cut at its end. Zeros follow the end of a faster one: take an
    excerpt that is longer by the highest rate and cut it later, as RandomSegments does.

    Args:
        rate: limits of new tempo / old tempo; the default is that of Demucs.
    """
    import librosa

    check_limits("rate", rate, 0.25, 4)

    def stretched(audio: NDArray[np.float32], by: float) -> NDArray[np.float32]:
        return _as_loud(librosa.effects.time_stretch(audio, rate=by), audio)

    def change(stems: Tensor) -> Tensor:
        return each(stems, sample_rate, drawn(stems, rate, generator), stretched)

    return changed(sources, sample_rate, probability, generator, change)


def random_speed(
    sources: Tensor,
    sample_rate: int,
    *,
    probability: float = 1.0,
    rate: Limits = (0.88, FASTEST),
    generator: torch.Generator,
) -> Tensor:
    """Play a stem faster and higher, or slower and lower, as a tape does.

    It is resampled, which costs a small part of the time of a phase vocoder and leaves
    attacks sharp. A slower stem is cut at its end, and zeros follow the end of a faster
    one, as in `random_tempo`.

    Args:
        rate: limits of new speed / old speed; the default is a change of the pitch by
            -2.2 … 2 semitones.

    Source: Ko et al. 2015, "Audio augmentation for speech recognition".
    """
    check_limits("rate", rate, 0.25, 4)

    def played(audio: NDArray[np.float32], by: float) -> NDArray[np.float32]:
        new: NDArray[np.float32] = soxr.resample(audio.T, by, 1.0, quality="HQ").T
        return new

    def change(stems: Tensor) -> Tensor:
        return each(stems, sample_rate, drawn(stems, rate, generator), played)

    return changed(sources, sample_rate, probability, generator, change)


def _as_loud(new: NDArray[np.float32], old: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give back the RMS, of which the phase vocoder loses some decibels."""
    power = float(np.square(new).mean())
    return new * np.float32(np.square(old).mean() / power) ** 0.5 if power else new
