"""Audio files and levels: what enters and leaves as a waveform (channels, samples).

    file ──load_audio──▶ float32 (channels, samples), sample_rate ──save_audio──▶ file

Nothing is resampled, mixed down, scaled or clipped unless a function of that name is
called. Sample 0 of the tensor is sample 0 of the recording for every format: what an
encoder put before and behind the music (priming, padding) is cut off again.
Notebook: 01.
"""

import math
import os
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

from mssedu.audio.containers import READABLE_SUFFIXES, opened, probe
from mssedu.audio.writer import AudioWriter
from mssedu.errors import InputError, check_range, message

__all__ = [
    "READABLE_SUFFIXES",
    "AudioInfo",
    "audio_info",
    "load_audio",
    "loudness_lufs",
    "match_channels",
    "peak_db",
    "resample",
    "resampled_length",
    "rms_db",
    "save_audio",
]


@dataclass(frozen=True)
class AudioInfo:
    """What `audio_info` tells about a file without handing out its samples."""

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

    A part has exactly the samples of the same slice of the whole. Compressed files are
    decoded from their start for that, so keep music that you train on as wav or flac.

    Args:
        path: a file with one of `READABLE_SUFFIXES`, or of any kind FFmpeg reads.
        start_seconds: where to begin, rounded to the nearest sample.
        duration_seconds: how much to read, cut at the file's end; None: all that is
            left.
        stream: which audio stream of a container; a MUSDB18 .stem.mp4 has five.

    Returns:
        float32 (channels, samples), full scale ±1 (float files may exceed it), and the
        sample rate in Hz.

    Raises:
        AudioFileError: no such file, a folder, or nothing that can be decoded.
        InputError: the part lies outside the file, or the stream does not exist.
    """
    with opened(
        "load_audio",
        path,
        stream=stream,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
    ) as part:
        audio = np.concatenate([*part.blocks], axis=1)
        return torch.from_numpy(audio), part.sample_rate


def audio_info(path: str | os.PathLike[str], *, stream: int = 0) -> AudioInfo:
    """Sample rate, channels, exact length and codec of an audio file.

    Raises:
        AudioFileError, InputError: as `load_audio`.
    """
    return AudioInfo(*probe("audio_info", path, stream))


def save_audio(
    path: str | os.PathLike[str],
    audio: Tensor,
    sample_rate: int,
    *,
    subtype: str = "int16",
    dither_seed: int | None = 0,
) -> None:
    """Write a waveform; the suffix picks the format: .wav, .flac, .ogg or .mp3.

    The file appears complete or not at all. Rounding is to the nearest step; 16-bit
    files get triangular dither of ±1 step where it is needed (silence, or what comes
    from a 16-bit file, is kept), which turns rounding into steady noise.

    Args:
        path: file to write or replace; its folder must exist.
        audio: (channels, samples), finite.
        sample_rate: Hz.
        subtype: "int16", "int24" or, for wav alone, "float32", which keeps values
            beyond ±1; ogg and mp3 are lossy and know no subtype.
        dither_seed: seed of the dither, ≥ 0; None turns it off.

    Raises:
        InputError: unknown suffix or subtype, wrong shape, NaN or Inf, or a peak over 1
            that all but float32 would clip.
        AudioFileError: the folder is missing, or the file cannot be written.

    Source: Lipshitz, Wannamaker, Vanderkooy 1992, "Quantization and dither".
    """
    where = "save_audio"
    shaped = audio.ndim == 2 and 1 <= audio.shape[0] <= 64 and audio.shape[1] >= 1
    if not shaped or not audio.is_floating_point():
        got = f"{audio.dtype} {tuple(audio.shape)}"
        remedy = "One waveform per file: index, transpose or convert it."
        wanted = "float audio (1 … 64 channels, samples ≥ 1)"
        raise InputError(message(where, wanted, got, remedy))
    with AudioWriter(
        path,
        sample_rate,
        *audio.shape,
        subtype=subtype,
        dither_seed=dither_seed,
        where=where,
    ) as writer:
        writer.write(audio)


def resample(audio: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Change the sample rate with a steep linear-phase filter (soxr, VHQ).

    Args:
        audio: float32 or float64 (…, samples).
        from_rate: its sample rate, Hz.
        to_rate: the wanted one, Hz; `audio` itself comes back if both are equal.

    Returns:
        (…, round(samples · to_rate / from_rate)), same type and device.

    Raises:
        InputError: a rate below 1 Hz, no samples, or another dtype.

    Example:
        >>> resample(torch.zeros(2, 44100), 44100, 48000).shape
        torch.Size([2, 48000])
    """
    check_range("from_rate", from_rate, 1)
    check_range("to_rate", to_rate, 1)
    if from_rate == to_rate:
        return audio
    if audio.dtype not in (torch.float32, torch.float64) or not audio.numel():
        got = f"{audio.dtype} {tuple(audio.shape)}"
        remedy = "Convert with audio.float(); give at least one sample."
        raise InputError(message("resample", "float audio (…, samples)", got, remedy))
    samples = audio.shape[-1]
    length = resampled_length(samples, from_rate, to_rate)
    rows = audio.detach().cpu().reshape(-1, samples).T.numpy()
    out = soxr.resample(rows, from_rate, to_rate, quality="VHQ").T[:, :length]
    out = np.pad(out, ((0, 0), (0, length - out.shape[1])))
    return torch.from_numpy(out).to(audio.device).reshape(*audio.shape[:-1], length)


def resampled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """How many samples `resample` makes of so many: rounded, a half upwards.

    Example:
        >>> resampled_length(44101, 44100, 22050)
        22051
    """
    return (2 * samples * to_rate + from_rate) // (2 * from_rate)


def match_channels(audio: Tensor, channels: int) -> Tensor:
    """Bring (…, channels, samples) to mono (mean) or stereo (mono on both sides).

    Raises:
        InputError: any other change; which channels to drop is yours to say.

    Example:
        >>> match_channels(torch.ones(1, 5), 2).shape
        torch.Size([2, 5])
    """
    have = audio.shape[-2] if audio.ndim > 1 else 0
    if have == channels:
        return audio
    if (have, channels) == (1, 2):
        return audio.repeat_interleave(2, dim=-2)
    if (have, channels) == (2, 1):
        return audio.mean(dim=-2, keepdim=True)
    wanted = f"(…, {channels} or 1 or 2 channels, samples) to make {channels} of"
    remedy = "Pick channels yourself, e.g. audio[..., :2, :]."
    raise InputError(message("match_channels", wanted, tuple(audio.shape), remedy))


def peak_db(audio: Tensor) -> float:
    """Largest absolute sample in dB below full scale; -inf for silence.

    Example:
        >>> round(peak_db(torch.tensor([[0.1, -0.5]])), 2)
        -6.02
    """
    return 20 * float(audio.abs().max().log10())


def rms_db(audio: Tensor) -> float:
    """Root mean square over all channels in dB below full scale; -inf for silence.

    Example:
        >>> round(rms_db(torch.full((2, 100), 0.1)), 2)
        -20.0
    """
    return 10 * float(audio.double().square().mean().log10())


def loudness_lufs(audio: Tensor, sample_rate: int) -> float:
    """Integrated loudness as broadcasters measure it; -inf where all is gated away.

    Args:
        audio: (channels ≤ 5, samples), at least 0.4 s: one measuring block.
        sample_rate: Hz.

    Raises:
        InputError: another shape, or shorter than 0.4 s.

    Source: ITU-R BS.1770-4; computed by pyloudnorm.
    """
    import pyloudnorm

    least = math.ceil(0.4 * sample_rate)
    if audio.ndim != 2 or not 1 <= audio.shape[0] <= 5 or audio.shape[1] < least:
        wanted = f"audio (1 … 5 channels, samples ≥ {least}: 0.4 s)"
        remedy = "Use rms_db for shorter excerpts."
        raise InputError(message("loudness_lufs", wanted, tuple(audio.shape), remedy))
    samples = audio.detach().double().cpu().numpy().T
    # Log of zero and the mean of no block at all are how silence turns up inside.
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(pyloudnorm.Meter(sample_rate).integrated_loudness(samples))
