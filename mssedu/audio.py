"""Audio files and levels: what enters and leaves as a waveform (channels, samples).

    file ──load_audio──▶ float32 (channels, samples), sample_rate ──save_audio──▶ file

Nothing is resampled, mixed down, scaled or clipped unless a function of that name is
called. Sample 0 of the tensor is sample 0 of the recording for every format: what an
encoder put before and behind the music (priming, padding) is cut off again.
Notebook: 01.
"""

import math
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from mssedu.checks import (
    AudioFileError,
    InputError,
    check_finite,
    check_name,
    check_range,
    message,
)
from mssedu.containers import READABLE_SUFFIXES, decode, probe

__all__ = [
    "READABLE_SUFFIXES",
    "AudioInfo",
    "audio_info",
    "load_audio",
    "loudness_lufs",
    "match_channels",
    "peak_db",
    "resample",
    "rms_db",
    "save_audio",
]

# suffix -> libsndfile's format, and what it calls each subtype
_PCM = {"int16": "PCM_16", "int24": "PCM_24"}
_WRITERS: dict[str, tuple[str, dict[str, str]]] = {
    ".wav": ("WAV", {**_PCM, "float32": "FLOAT"}),
    ".flac": ("FLAC", _PCM),
    ".ogg": ("OGG", dict.fromkeys(("int16", "int24", "float32"), "VORBIS")),
    ".mp3": ("MP3", dict.fromkeys(("int16", "int24", "float32"), "MPEG_LAYER_III")),
}
_BLOCK = 65536  # samples written at once: libsndfile's Vorbis encoder needs small bites


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
    where = "load_audio"
    file = _existing_file(where, path)
    check_range(where, "start_seconds", start_seconds, 0.0)
    if duration_seconds is not None:
        check_range(where, "duration_seconds", duration_seconds, 0.0, low_open=True)
    audio, sample_rate = decode(where, file, stream, start_seconds, duration_seconds)
    if audio.shape[-1] == 0:
        if start_seconds == 0.0:
            raise _no_samples(where, file)
        got = f"start_seconds {start_seconds} of {file}"
        remedy = "Start earlier; mssedu.audio.audio_info tells the length."
        raise InputError(message(where, "a start before the file's end", got, remedy))
    return torch.from_numpy(np.ascontiguousarray(audio)), sample_rate


def audio_info(path: str | os.PathLike[str], *, stream: int = 0) -> AudioInfo:
    """Sample rate, channels, exact length and codec of an audio file.

    Raises:
        AudioFileError, InputError: as `load_audio`.
    """
    where = "audio_info"
    file = _existing_file(where, path)
    info = AudioInfo(*probe(where, file, stream))
    if info.samples == 0:
        raise _no_samples(where, file)
    return info


def save_audio(
    path: str | os.PathLike[str],
    audio: Tensor,
    sample_rate: int,
    *,
    subtype: str = "int16",
    dither_seed: int | None = 0,
) -> None:
    """Write a waveform; the suffix picks the format: .wav, .flac, .ogg or .mp3.

    The file appears complete or not at all. Rounding is to the nearest step. 16-bit
    files get triangular dither of ±1 step, which turns rounding into steady noise;
    audio that lies on 16-bit steps already (silence, a 16-bit file) is kept as it is.

    Args:
        path: file to write or replace; its folder must exist.
        audio: (channels, samples), finite.
        sample_rate: Hz.
        subtype: "int16", "int24" or, for wav alone, "float32", which keeps values
            beyond ±1; ogg and mp3 are lossy and know no subtype.
        dither_seed: seed of the dither; None turns it off.

    Raises:
        InputError: unknown suffix or subtype, wrong shape, NaN or Inf, or a peak over 1
            that all but float32 would clip.
        AudioFileError: the folder is missing, or the file cannot be written.

    Source: Lipshitz, Wannamaker, Vanderkooy 1992, "Quantization and dither".
    """
    where = "save_audio"
    file = Path(path).absolute()
    check_name(where, "file suffix", file.suffix.lower(), _WRITERS)
    kind, subtypes = _WRITERS[file.suffix.lower()]
    check_name(where, f"{kind} subtype", subtype, subtypes)
    samples = _storable(where, audio, sample_rate, subtypes[subtype])
    data = _quantize(samples, subtypes[subtype], dither_seed)
    if not file.parent.is_dir() or file.is_dir():
        remedy = "Create the folder first, or choose another name."
        raise AudioFileError(message(where, "a file in a folder", file, remedy))
    temporary = file.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        _write(temporary, data, sample_rate, kind, subtypes[subtype])
        temporary.replace(file)
    except (OSError, sf.SoundFileError) as error:
        wanted = f"a writable {kind} file {file} at {sample_rate} Hz"
        remedy = "Check the disk, the rights, and that the format knows this rate."
        raise AudioFileError(message(where, wanted, error, remedy)) from error
    finally:
        temporary.unlink(missing_ok=True)


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
    check_range("resample", "from_rate", from_rate, 1)
    check_range("resample", "to_rate", to_rate, 1)
    if from_rate == to_rate:
        return audio
    if audio.dtype not in (torch.float32, torch.float64) or not audio.numel():
        got = f"{audio.dtype} {tuple(audio.shape)}"
        remedy = "Convert with audio.float(); give at least one sample."
        raise InputError(message("resample", "float audio (…, samples)", got, remedy))
    samples = audio.shape[-1]
    length = (2 * samples * to_rate + from_rate) // (2 * from_rate)
    rows = audio.detach().cpu().reshape(-1, samples).T.numpy()
    out = soxr.resample(rows, from_rate, to_rate, quality="VHQ").T[:, :length]
    out = np.pad(out, ((0, 0), (0, length - out.shape[1])))
    return torch.from_numpy(out).to(audio.device).reshape(*audio.shape[:-1], length)


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


def _existing_file(where: str, path: str | os.PathLike[str]) -> Path:
    file = Path(path).absolute()
    if not file.exists():
        got = f"nothing at {file}"
        remedy = "Check the spelling and the working folder."
    elif file.is_dir():
        got, remedy = f"the folder {file}", "Name a file inside it."
    elif file.stat().st_size == 0:
        got, remedy = f"the empty file {file}", "Copy or download it again."
    else:
        return file
    raise AudioFileError(message(where, "an audio file", got, remedy))


def _no_samples(where: str, file: Path) -> AudioFileError:
    got = f"none in {file}"
    return AudioFileError(message(where, "samples", got, "Export the file again."))


def _storable(where: str, audio: Tensor, sample_rate: int, code: str) -> Tensor:
    """`audio` on the CPU, checked: shape, finite, and no peak that would be clipped."""
    shaped = audio.ndim == 2 and 1 <= audio.shape[0] <= 64 and audio.shape[1] >= 1
    if not shaped or not audio.is_floating_point():
        got = f"{audio.dtype} {tuple(audio.shape)}"
        remedy = "One waveform per file: index, transpose or convert it."
        wanted = "float audio (1 … 64 channels, samples ≥ 1)"
        raise InputError(message(where, wanted, got, remedy))
    # libsndfile's Vorbis encoder crashes above this rate instead of refusing it.
    highest = 200_000 if code == "VORBIS" else math.inf
    check_range(where, "sample_rate", sample_rate, 1, highest)
    check_finite(where, audio, sample_rate)
    peak = float(audio.abs().max())
    if peak > 1.0 and code != "FLOAT":
        got = f"a peak of {peak:.4g} ({20 * math.log10(peak):+.2f} dB)"
        remedy = (
            f"Scale all stems of the song alike, e.g. audio / {peak:.4g}, or save as "
            'wav with subtype="float32".'
        )
        raise InputError(message(where, "samples within ±1", got, remedy))
    return audio.detach().cpu()


def _quantize(audio: Tensor, code: str, dither_seed: int | None) -> NDArray[Any]:
    """What libsndfile stores without further rounding, (samples, channels)."""
    if code not in ("PCM_16", "PCM_24"):
        return audio.float().T.numpy()
    bits = 16 if code == "PCM_16" else 24
    steps = audio.double() * 2 ** (bits - 1)
    if bits == 16 and dither_seed is not None and not steps.equal(steps.round()):
        generator = torch.Generator().manual_seed(dither_seed)
        uniform = torch.rand(2, *steps.shape, generator=generator, dtype=steps.dtype)
        steps = steps + uniform[0] - uniform[1]
    steps = steps.round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if bits == 16:
        return steps.short().T.numpy()
    return (steps.int() << 8).T.numpy()  # libsndfile keeps the upper 24 of 32 bits


def _write(
    file: Path, data: NDArray[Any], sample_rate: int, kind: str, code: str
) -> None:
    quality: dict[str, Any] = {}
    if kind == "MP3":  # about 250 kbit/s
        quality = {"bitrate_mode": "VARIABLE", "compression_level": 0.0}
    elif kind == "OGG":  # about 250 kbit/s
        quality = {"compression_level": 0.3}
    with sf.SoundFile(
        file, "w", sample_rate, data.shape[1], code, format=kind, **quality
    ) as sound:
        for start in range(0, len(data), _BLOCK):
            sound.write(data[start : start + _BLOCK])
