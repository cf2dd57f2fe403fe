"""Write audio block by block: the one writer behind `save_audio` and long files.

    block (channels, n) ──check──▶ dither, round ──▶ temporary file ──rename──▶ path
                                                         └──an error: removed

After an error or Ctrl-C, no part of the file is left. The file does not depend on how
the audio was cut into blocks: each sample has its own random numbers for dither, and
encoders receive blocks of one length. A .wav file of more than 4 GiB becomes RF64,
whose header counts in 64 bits.

Source: Lipshitz, Wannamaker, Vanderkooy 1992, "Quantization and dither".
Notebook: 01.
"""

import contextlib
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from torch import Tensor

from mssedu.audio.disk import free_bytes, full_disk, is_full
from mssedu.audio.files import Staged
from mssedu.audio.names import disk_name
from mssedu.errors import (
    AudioFileError,
    DiskError,
    InputError,
    check_finite,
    check_name,
    check_range,
)

# suffix -> libsndfile's name of the format, and its names of the subtypes
_PCM = {"int16": "PCM_16", "int24": "PCM_24"}
_WRITERS: dict[str, tuple[str, dict[str, str]]] = {
    ".wav": ("WAV", {**_PCM, "float32": "FLOAT"}),
    ".flac": ("FLAC", _PCM),
    ".ogg": ("OGG", dict.fromkeys(("int16", "int24", "float32"), "VORBIS")),
    ".mp3": ("MP3", dict.fromkeys(("int16", "int24", "float32"), "MPEG_LAYER_III")),
}
# The type of the samples that libsndfile receives; it uses the upper 24 bits of int32.
_STORED: dict[str, Any] = {"PCM_16": np.int16, "PCM_24": np.int32}
_BYTES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}
RIFF_LIMIT = 2**32 - 2**16  # bytes of samples; a wav header counts in 32 bits
_BLOCK = 65536  # samples written at once; libsndfile's Vorbis encoder fails with many

_ENCODED = 320  # kbit/s, which no file of .mp3 or .ogg needs in the mean
_HEADER = 10_000  # bytes

# Constant bitrates of an mp3 file in kbit/s, from this sample rate on. Lower bitrates
# exist, but their frames are too small for the tag that says where the music is.
_MP3_BITRATES = {
    32000: (64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1
    16000: (64, 80, 96, 112, 128, 144, 160),  # MPEG-2
    1: (32, 40, 48, 56, 64),  # MPEG-2.5
}
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # Hz
LONGEST_FLAC = 30.0  # seconds of a file inside a page
_MP3_LOWEST = {32000: 32, 16000: 8, 1: 8}  # kbit/s that libsndfile calls level 1


@contextlib.contextmanager
def disk_errors(what: str, path: Path, n_bytes: int = 0) -> Iterator[None]:
    """Errors of the disk and of libsndfile become ours.

    libsndfile does not say why it cannot write: if the disk of `path` has less free
    space than `n_bytes`, it is full.
    """
    try:
        yield
    except DiskError:
        raise
    except (OSError, sf.SoundFileError) as error:
        free = free_bytes(path)
        if is_full(error) or (free is not None and free < n_bytes):
            raise full_disk(path, error) from error
        raise AudioFileError(
            f"{what} cannot be written: {error}. Check the free space on the disk and "
            "your rights."
        ) from error


def file_bytes(
    suffix: str,
    sample_rate: int,
    channels: int,
    samples: int,
    *,
    subtype: str = "int16",
    bitrate: int | None = None,
) -> int:
    """The largest size of a file that `AudioWriter` writes with these arguments.

    Example:
        >>> file_bytes(".wav", 44100, 2, 44100)
        186400
    """
    code = _WRITERS[suffix][1][subtype]
    if code in _BYTES:
        return samples * channels * _BYTES[code] + _HEADER
    return round(samples / sample_rate * (bitrate or _ENCODED) * 125) + _HEADER


class AudioWriter:
    """Write a file block by block; the suffix picks .wav, .flac, .ogg or .mp3.

    Args:
        path, sample_rate, subtype, dither_seed: as `mssedu.audio.save_audio`.
        channels, samples: size of the whole file.
        bitrate: constant bitrate of an mp3 file, kbit/s; None: variable, about 250.
        staged: gives the file its name when it ends, together with other files; None:
            the file has its name when the writer ends.

    Raises:
        InputError, AudioFileError: as `save_audio`; InputError also for a bitrate that
            mp3 does not have, and if the blocks do not add up to `samples`.

    Example:
        >>> import tempfile
        >>> with (
        ...     tempfile.TemporaryDirectory() as folder,
        ...     AudioWriter(f"{folder}/a.wav", 44100, 2, samples=300) as writer,
        ... ):
        ...     writer.write(torch.zeros(2, 200))
        ...     writer.write(torch.zeros(2, 100))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sample_rate: int,
        channels: int,
        samples: int,
        *,
        subtype: str = "int16",
        dither_seed: int | None = 0,
        bitrate: int | None = None,
        staged: Staged | None = None,
    ) -> None:
        self.path, self._staged = Path(path).absolute(), staged
        suffix = self.path.suffix.lower()
        check_name("file suffix", suffix, _WRITERS)
        self._kind, subtypes = _WRITERS[suffix]
        check_name(f"{self._kind} subtype", subtype, subtypes)
        self._code = subtypes[subtype]
        check_range("channels", channels, 1, 64)
        check_range("samples", samples, 1)
        # libsndfile's Vorbis encoder crashes above this rate instead of refusing it.
        highest = 200_000 if self._code == "VORBIS" else math.inf
        check_range("sample_rate", sample_rate, 1, highest)
        if not self.path.parent.is_dir():
            raise AudioFileError(f"{self.path}: the folder does not exist.")
        if self.path.is_dir():
            raise AudioFileError(f"{self.path} is a folder. Choose another name.")
        self._quality = _quality(self._kind, sample_rate, bitrate)
        if self._kind == "WAV" and samples * channels * _BYTES[self._code] > RIFF_LIMIT:
            self._kind = "RF64"
        self._dither = None
        if dither_seed is not None and self._code == "PCM_16":
            check_range("dither_seed", dither_seed, 0)
            self._dither = np.random.default_rng(dither_seed)
        self._place = f"{self.path} ({self._kind} at {sample_rate} Hz)"
        self._sample_rate = sample_rate
        self._channels, self._samples = channels, samples
        self._n_received = 0  # samples so far
        stored = _STORED.get(self._code, np.float32)
        self._waiting: NDArray[Any] = np.zeros((0, channels), stored)

    def __enter__(self) -> Self:
        with self._disk_errors(), contextlib.ExitStack() as stack:
            staged = self._staged or stack.enter_context(Staged())
            self._temporary = staged.add(self.path)
            self._sound = sf.SoundFile(
                disk_name(self._temporary),
                "w",
                self._sample_rate,
                self._channels,
                self._code,
                format=self._kind,
                **self._quality,
            )
            stack.push(self._close)
            self._exits = stack.pop_all()  # these run at the end of the `with` block
        return self

    def write(self, block: Tensor) -> None:
        """Append a block (channels, n) of finite float samples."""
        if block.ndim != 2 or block.shape[0] != self._channels:
            raise InputError(
                f"audio must be ({self._channels} channels, samples), got the shape "
                f"{tuple(block.shape)}."
            )
        if not block.is_floating_point():
            raise InputError(
                f"audio must be of a float type, got {block.dtype}. Use "
                "audio.float(), scaled to ±1."
            )
        first = self._n_received
        name = f"audio (block from sample {first})" if first else "audio"
        check_finite(name, block, self._sample_rate)
        peak = float(block.abs().max()) if block.numel() else 0.0
        if peak > 1.0 and self._code != "FLOAT":
            raise InputError(
                f"{name} has a peak of {peak:.4g} ({20 * math.log10(peak):+.2f} dB), "
                "and this format holds ±1 at most. Scale all stems of the song alike, "
                f'e.g. audio / {peak:.4g}, or save as wav with subtype="float32".'
            )
        for piece in block.detach().cpu().split(_BLOCK, dim=1):
            stored = _quantized(piece, self._code, self._dither)
            self._waiting = np.concatenate([self._waiting, stored])
            if len(self._waiting) >= _BLOCK:
                with self._disk_errors():
                    self._sound.write(self._waiting[:_BLOCK])
                self._waiting = self._waiting[_BLOCK:]
        self._n_received += block.shape[1]

    def __exit__(self, *error: Any) -> None:
        if error[0] is not None:  # an OSError of the `with` block is not of this disk
            self._exits.__exit__(*error)
            return
        with self._disk_errors():
            self._exits.close()

    def _disk_errors(self) -> contextlib.AbstractContextManager[None]:
        # libsndfile writes this many bytes at once.
        return disk_errors(self._place, self.path, _BLOCK * self._channels * 4)

    def _close(self, *error: Any) -> None:
        """Write the last samples and close the file; after an error, close it only."""
        if error[0] is not None:
            with contextlib.suppress(OSError, sf.SoundFileError):
                self._sound.close()
            return
        self._sound.write(self._waiting)
        self._sound.close()
        if self._code == "FLOAT":
            _remove_time(self._temporary)
        if self._n_received != self._samples:
            raise InputError(
                f"samples = {self._samples}, but the blocks hold {self._n_received} "
                f"samples: {self.path} is not written."
            )


def _remove_time(path: Path) -> None:
    """Clear the time in the PEAK chunk of a float wav: same samples, same file."""
    with path.open("r+b") as file:
        chunk = file.read(_HEADER).partition(b"data")[0].find(b"PEAK")
        if chunk >= 0:
            file.seek(chunk + 12)  # behind the name, the size and the version
            file.write(bytes(4))


def _quality(kind: str, sample_rate: int, bitrate: int | None) -> dict[str, Any]:
    """The quality of an encoder, as arguments of libsndfile."""
    if bitrate is None:  # about 250 kbit/s
        if kind == "MP3":
            return {"bitrate_mode": "VARIABLE", "compression_level": 0.0}
        return {"compression_level": 0.3} if kind == "OGG" else {}
    from_rate = next(rate for rate in _MP3_BITRATES if sample_rate >= rate)
    known, lowest = _MP3_BITRATES[from_rate], _MP3_LOWEST[from_rate]
    if kind != "MP3":
        raise InputError(f"bitrate = {bitrate} is for mp3 files only, not for {kind}.")
    if bitrate not in known:
        raise InputError(
            f"bitrate must be one of {', '.join(map(str, known))} kbit/s at "
            f"{sample_rate} Hz, or None, got {bitrate}."
        )
    level = (known[-1] - bitrate) / (known[-1] - lowest)
    return {"bitrate_mode": "CONSTANT", "compression_level": level}


def _quantized(
    block: Tensor, code: str, dither: np.random.Generator | None
) -> NDArray[Any]:
    """The values that the file holds, (samples, channels), dithered and rounded."""
    if code not in _STORED:
        return block.float().T.numpy()
    bits = 16 if code == "PCM_16" else 24
    steps = block.double().T.numpy() * 2 ** (bits - 1)
    if dither is not None:
        # Each sample uses two random numbers, even if it needs no dither. So the file
        # does not depend on the length of the blocks.
        uniform = dither.random((*steps.shape, 2))
        triangular = uniform[..., 0] - uniform[..., 1]
        steps = np.where(steps == np.rint(steps), steps, steps + triangular)
    steps = np.rint(steps).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return steps.astype(np.int16) if bits == 16 else steps.astype(np.int32) << 8


def flac_bytes(audio: Tensor, sample_rate: int) -> bytes:
    """A sound as a 16-bit FLAC file in memory, such as for a web page; not dithered.

    Args:
        audio: (channels, samples); float, where samples beyond ±1 are clipped, or
            int16, which is stored as it is.
        sample_rate: Hz.

    Example:
        >>> flac_bytes(torch.zeros(1, 100), 44100)[:4]
        b'fLaC'
    """
    samples = audio.detach().cpu()
    if samples.is_floating_point():
        samples = samples.float().clamp(-1, 1)
    file = io.BytesIO()
    sf.write(file, samples.T.numpy(), sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def player_file(audio: Tensor, sample_rate: int) -> tuple[bytes, str]:
    """A sound as a file for an audio element of a page, and its kind: flac or mpeg.

    A page holds the file in its text, which a whole song in FLAC would make too large
    for some browsers. So a sound of more than 30 s becomes MP3 of about 250 kbit/s, if
    MP3 has its sample rate.

    Args:
        audio: (channels, samples), mono or stereo; samples beyond ±1 are clipped.
        sample_rate: Hz.

    Example:
        >>> player_file(torch.zeros(1, 100), 44100)[1]
        'flac'
    """
    short = audio.shape[1] <= LONGEST_FLAC * sample_rate
    if short or sample_rate not in MP3_RATES:
        return flac_bytes(audio, sample_rate), "flac"
    samples = audio.detach().cpu().float().clamp(-1, 1).T.numpy()
    settings = _quality("MP3", sample_rate, None)
    sf.write(file := io.BytesIO(), samples, sample_rate, format="MP3", **settings)
    return file.getvalue(), "mpeg"
