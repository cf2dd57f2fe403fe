"""Load, save and resample whole sounds in memory, and measure their levels.

    file ──load_audio──▶ float32 (channels, samples), sample_rate ──save_audio──▶ file

A file is loaded and saved as it is: only `resample` changes the sample rate, and only
`match_channels` the number of channels; no function scales or clips.

Sample 0 of the tensor is sample 0 of the recording in wav, aiff, flac, alac, ogg, opus,
m4a and in mp3 with a length tag. Other lossy files do not say how much silence their
encoder put in front: AAC as .aac, .ts or .flv has 1024 samples more, MP2 has 481, AC-3
256, an mp3 without the tag 1105. Notebook: 01.
"""

import math
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mssedu.audio.containers import opened, probe
from mssedu.audio.writer import AudioWriter
from mssedu.errors import InputError, MssEduWarning, check_axes, check_range

REST_DB = -20.0  # dB relative to the mixture; a codec changes less than this


@dataclass(frozen=True)
class AudioInfo:
    """The format and the length of an audio file."""

    sample_rate: int  # Hz
    channels: int
    samples: int  # exactly what load_audio returns
    codec: str  # "pcm_16", "vorbis", "aac", …


def load_audio(
    path: str | os.PathLike[str],
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    stream: int = 0,
) -> tuple[Tensor, int]:
    """Read an audio file, or a part of it.

    A part equals the same slice of the whole file, sample for sample. So compressed
    files are decoded from their beginning, which is slow: use wav or flac for training.
    A damaged file is read as far as it can be decoded, with an MssEduWarning that says
    what is lost; a loss inside is silent where the file has time stamps. A stream that
    changes its sample rate or channels is converted to what it was at first.

    Args:
        path: a file in any format of libsndfile or FFmpeg; its name does not matter.
        start_seconds: where the part begins, rounded to the nearest sample.
        duration_seconds: length of the part, at most up to the end; None: up to it.
        stream: number of the audio stream in a container; a MUSDB18 .stem.mp4 has five.

    Returns:
        float32 (channels, samples), where ±1 is full scale (samples of float files may
        exceed it), and the sample rate in Hz.

    Raises:
        AudioFileError: the file does not exist, or less than half of it can be decoded.
        InputError: the part is outside the file, or there is no such stream.
    """
    with opened(path, start_seconds, duration_seconds, stream) as part:
        audio = torch.from_numpy(np.concatenate([*part.blocks], 1))
    warn_of_damage(path, part.notes)
    return audio, part.sample_rate


def audio_info(path: str | os.PathLike[str], *, stream: int = 0) -> AudioInfo:
    """Sample rate, channels, exact length and codec; errors as `load_audio`.

    It warns as `load_audio`, of what a look at the file without decoding shows.
    """
    sample_rate, channels, samples, codec, notes = probe(path, stream)
    warn_of_damage(path, notes)
    return AudioInfo(sample_rate, channels, samples, codec)


def warn_of_damage(path: str | os.PathLike[str], notes: tuple[str, ...]) -> None:
    """Warn the caller of the public function about what a file has lost."""
    if notes:
        text = f"{os.fspath(path)}: {'; '.join(notes)}."
        warnings.warn(text, MssEduWarning, stacklevel=3)


def save_audio(
    path: str | os.PathLike[str],
    audio: Tensor,
    sample_rate: int,
    *,
    subtype: str = "int16",
    dither_seed: int | None = 0,
) -> None:
    """Write a waveform; the suffix picks the format: .wav, .flac, .ogg or .mp3.

    Samples are rounded to the nearest step. 16-bit files get triangular dither of ±1
    step, which turns the rounding error into steady noise; samples that need no
    rounding (silence, or the content of a 16-bit file) get none.

    Args:
        path: the file to write or to replace; its folder must exist.
        audio: float, (channels ≤ 64, samples), finite.
        sample_rate: Hz.
        subtype: "int16", "int24" or, for wav only, "float32", which keeps values
            beyond ±1. Ogg and mp3 are lossy and ignore the subtype.
        dither_seed: the same seed gives the same file; None: no dither.

    Raises:
        InputError: wrong shape, NaN or Inf, a peak over 1 in a format other than
            float32, or an unknown suffix or subtype.
        AudioFileError: the folder does not exist, or the file cannot be written.
    """
    check_axes("audio", audio, ("channels", "samples"))
    if audio.shape[0] > 64:
        raise InputError(
            f"audio has {audio.shape[0]} channels, and a file holds 64 at most. If its "
            "axes are (samples, channels), transpose it: audio.T."
        )
    writer = AudioWriter(
        path, sample_rate, *audio.shape, subtype=subtype, dither_seed=dither_seed
    )
    with writer:
        writer.write(audio)


def resample(audio: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Change the sample rate with a steep linear-phase filter (soxr, VHQ).

    Args:
        audio: float32 or float64 (…, samples).
        from_rate, to_rate: Hz; if they are equal, `audio` itself is returned.

    Returns:
        (…, round(samples · to_rate / from_rate)), the same type and device.

    Raises:
        InputError: a rate below 1 Hz, no samples, or another type.

    Example:
        >>> resample(torch.zeros(2, 44100), 44100, 48000).shape
        torch.Size([2, 48000])
    """
    check_range("from_rate", from_rate, 1)
    check_range("to_rate", to_rate, 1)
    if from_rate == to_rate:
        return audio
    if not audio.numel():
        raise InputError(f"audio is empty: {tuple(audio.shape)}.")
    length = resampled_length(audio.shape[-1], from_rate, to_rate)
    rows = soxr.resample(as_rows(audio), from_rate, to_rate, quality="VHQ")[:length]
    return F.pad(from_rows(rows, audio), (0, length - len(rows)))


def as_rows(audio: Tensor) -> NDArray[Any]:
    """A waveform (…, samples) as the array (samples, channels) that soxr takes."""
    if audio.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"audio must be float32 or float64, got {audio.dtype} of shape "
            f"{tuple(audio.shape)}. Use audio.float()."
        )
    channels = math.prod(audio.shape[:-1])
    return audio.detach().cpu().reshape(channels, audio.shape[-1]).T.numpy()


def from_rows(rows: NDArray[Any], like: Tensor) -> Tensor:
    """The inverse of `as_rows`, with the leading axes and the device of `like`."""
    columns = torch.from_numpy(np.ascontiguousarray(rows.T))
    return columns.reshape(*like.shape[:-1], len(rows)).to(like.device)


def resampled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """The number of samples that `resample` returns, rounded (a half is rounded up).

    Example:
        >>> resampled_length(44101, 44100, 22050)
        22051
    """
    return (2 * samples * to_rate + from_rate) // (2 * from_rate)


def match_channels(audio: Tensor, channels: int) -> Tensor:
    """Convert stereo to mono (the mean) or mono to stereo (the same on both sides).

    Args:
        audio: (…, channels, samples).
        channels: of the result; if `audio` has them already, it is returned as it is.

    Raises:
        InputError: any other change, because only you know which channels to drop.

    Example:
        >>> match_channels(torch.ones(1, 5), 2).shape
        torch.Size([2, 5])
    """
    if audio.ndim < 2:
        raise InputError(
            f"audio of shape {tuple(audio.shape)} has no channel axis. Use audio[None]."
        )
    have = audio.shape[-2]
    if have == channels:
        return audio
    if (have, channels) == (1, 2):
        return audio.repeat_interleave(2, dim=-2)
    if (have, channels) == (2, 1):
        return audio.mean(dim=-2, keepdim=True)
    raise InputError(
        f"audio has {have} channels, and {channels} are asked for. Choose channels "
        "yourself, e.g. audio[..., :2, :]: only mono and stereo can be converted."
    )


def peak_db(audio: Tensor) -> float:
    """Largest absolute sample, dB relative to full scale; -inf for silence.

    Example:
        >>> round(peak_db(torch.tensor([[0.1, -0.5]])), 2)
        -6.02
    """
    return 20 * float(audio.abs().max().log10())


def rms_db(audio: Tensor) -> float:
    """Root mean square of all channels, dB relative to full scale; -inf for silence.

    Example:
        >>> round(rms_db(torch.full((2, 100), 0.1)), 2)
        -20.0
    """
    return 10 * float(audio.double().square().mean().log10())


def is_source(rest: Tensor, mixture: Tensor) -> bool:
    """Whether a part (…, samples) of a mixture is more than what a codec changed.

    Example:
        >>> mixture = torch.ones(2, 100)
        >>> is_source(0.5 * mixture, mixture), is_source(0.01 * mixture, mixture)
        (True, False)
    """
    return rms_db(rest) > rms_db(mixture) + REST_DB


def loudness_lufs(audio: Tensor, sample_rate: int) -> float:
    """Integrated loudness as in broadcasting; -inf if all of it is below the gate.

    Args:
        audio: (channels ≤ 5, samples), at least one block of the measurement, 0.4 s.
        sample_rate: Hz.

    Returns:
        the loudness in LUFS: dB relative to full scale, weighted by frequency.

    Raises:
        InputError: another shape, or shorter than 0.4 s.

    Source: ITU-R BS.1770-4; computed by pyloudnorm.
    """
    import pyloudnorm

    least = math.ceil(0.4 * sample_rate)
    if audio.ndim != 2 or not 1 <= audio.shape[0] <= 5 or audio.shape[1] < least:
        raise InputError(
            f"audio must have 1 to 5 channels and at least {least} samples (0.4 s), "
            f"got the shape {tuple(audio.shape)}. Use rms_db for shorter excerpts."
        )
    samples = audio.detach().double().cpu().numpy().T
    # Silence makes pyloudnorm take the logarithm of zero and the mean of no block.
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(pyloudnorm.Meter(sample_rate).integrated_loudness(samples))
