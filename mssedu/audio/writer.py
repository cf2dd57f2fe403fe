"""Writing audio block by block: the one writer behind `save_audio` and long files.

    block (channels, n) ──check──▶ dither, round ──▶ hidden file ──rename──▶ path
                                                         └──an error: removed

The file gets its name when it is complete; whatever happens before (an error, Ctrl-C),
no half file is left. What is written does not depend on how the audio was cut into
blocks: dither is drawn sample by sample, and encoders are fed in equal bites. A .wav
file of more than 4 GiB becomes RF64, whose header counts in 64 bits.
Source: Lipshitz, Wannamaker, Vanderkooy 1992, "Quantization and dither".
Notebook: 01.
"""

import contextlib
import math
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from torch import Tensor

from mssedu.errors import (
    AudioFileError,
    InputError,
    check_finite,
    check_name,
    check_range,
    message,
)

# suffix -> libsndfile's format, and what it calls each subtype
_PCM = {"int16": "PCM_16", "int24": "PCM_24"}
_WRITERS: dict[str, tuple[str, dict[str, str]]] = {
    ".wav": ("WAV", {**_PCM, "float32": "FLOAT"}),
    ".flac": ("FLAC", _PCM),
    ".ogg": ("OGG", dict.fromkeys(("int16", "int24", "float32"), "VORBIS")),
    ".mp3": ("MP3", dict.fromkeys(("int16", "int24", "float32"), "MPEG_LAYER_III")),
}
# What is handed to libsndfile for each; it takes the upper 24 bits of 32
_STORED: dict[str, Any] = {"PCM_16": np.int16, "PCM_24": np.int32}
_BYTES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}
RIFF_LIMIT = 2**32 - 2**16  # bytes of samples; a wav header counts in 32 bits
_BLOCK = 65536  # samples written at once: libsndfile's Vorbis encoder needs small bites

# kbit/s of an mp3 file of constant bitrate, from this sample rate on. Lower ones exist,
# but their frames lack room for the tag that tells where the music begins and ends.
_MP3_BITRATES = {
    32000: (64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1
    16000: (64, 80, 96, 112, 128, 144, 160),  # MPEG-2
    1: (32, 40, 48, 56, 64),  # MPEG-2.5
}
_MP3_LOWEST = {32000: 32, 16000: 8, 1: 8}  # kbit/s that libsndfile calls level 1


class AudioWriter:
    """Write a file block by block; the suffix picks .wav, .flac, .ogg or .mp3.

    Args:
        path, sample_rate, subtype, dither_seed: as `mssedu.audio.save_audio`.
        channels, samples: size of the whole.
        bitrate: kbit/s of an mp3 file, constant; None: variable, about 250.
        where: who writes, for messages.

    Raises:
        InputError, AudioFileError: as `save_audio`; also for a bitrate unknown to mp3,
            and another number of samples than announced.

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
        where: str = "AudioWriter",
    ) -> None:
        self.path = Path(path).absolute()
        suffix = self.path.suffix.lower()
        check_name("file suffix", suffix, _WRITERS, where=where)
        self._kind, subtypes = _WRITERS[suffix]
        check_name(f"{self._kind} subtype", subtype, subtypes, where=where)
        self._code = subtypes[subtype]
        check_range("channels", channels, 1, 64, where=where)
        check_range("samples", samples, 1, where=where)
        # libsndfile's Vorbis encoder crashes above this rate instead of refusing it.
        highest = 200_000 if self._code == "VORBIS" else math.inf
        check_range("sample_rate", sample_rate, 1, highest, where=where)
        if not self.path.parent.is_dir() or self.path.is_dir():
            remedy = "Create the folder first, or choose another name."
            text = message(where, "a file in a folder", self.path, remedy)
            raise AudioFileError(text)
        self._quality = _quality(where, self._kind, sample_rate, bitrate)
        if self._kind == "WAV" and samples * channels * _BYTES[self._code] > RIFF_LIMIT:
            self._kind = "RF64"
        self._dither = None
        if dither_seed is not None and self._code == "PCM_16":
            check_range("dither_seed", dither_seed, 0, where=where)
            self._dither = np.random.default_rng(dither_seed)
        self._where, self._sample_rate = where, sample_rate
        self._channels, self._samples, self._done = channels, samples, 0
        self._temporary = self.path.with_name(f".{uuid.uuid4().hex}.tmp")
        stored = _STORED.get(self._code, np.float32)
        self._held: NDArray[Any] = np.zeros((0, channels), stored)  # not yet written

    def __enter__(self) -> Self:
        try:
            with self._errors_told():
                self._sound = sf.SoundFile(
                    self._temporary,
                    *("w", self._sample_rate, self._channels, self._code),
                    format=self._kind,
                    **self._quality,
                )
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise
        return self

    def write(self, block: Tensor) -> None:
        """Append a block (channels, n) of finite float samples.

        Raises:
            InputError: another shape, NaN or Inf, or a peak over 1 that all but float32
                would clip.
            AudioFileError: the disk is full, or else refuses.
        """
        self._check(block)
        for piece in block.detach().cpu().split(_BLOCK, dim=1):
            stored = _quantized(piece, self._code, self._dither)
            self._held = np.concatenate([self._held, stored])
            if len(self._held) >= _BLOCK:
                with self._errors_told():
                    self._sound.write(self._held[:_BLOCK])
                self._held = self._held[_BLOCK:]
        self._done += block.shape[1]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                with contextlib.suppress(OSError, sf.SoundFileError):
                    self._sound.close()
                return
            with self._errors_told():
                self._sound.write(self._held)
                self._sound.close()
            if self._done != self._samples:
                wanted = f"{self._samples} samples for {self.path}"
                remedy = "Write as many samples as you announced."
                raise InputError(message(self._where, wanted, self._done, remedy))
            with self._errors_told():
                self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _check(self, block: Tensor) -> None:
        """Shape, finite, and no peak that would be clipped."""
        fits = block.ndim == 2 and block.shape[0] == self._channels
        if not fits or not block.is_floating_point():
            wanted = f"a float block ({self._channels} channels, samples)"
            got = f"{block.dtype} {tuple(block.shape)}"
            remedy = "Index, transpose or convert it."
            raise InputError(message(self._where, wanted, got, remedy))
        place = f", block from sample {self._done}" if self._done else ""
        check_finite(self._where + place, block, self._sample_rate)
        peak = float(block.abs().max()) if block.numel() else 0.0
        if peak > 1.0 and self._code != "FLOAT":
            got = f"a peak of {peak:.4g} ({20 * math.log10(peak):+.2f} dB)"
            remedy = (
                f"Scale all stems of the song alike, e.g. audio / {peak:.4g}, or save "
                'as wav with subtype="float32".'
            )
            text = message(self._where + place, "samples within ±1", got, remedy)
            raise InputError(text)

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sf.SoundFileError) as error:
            wanted = (
                f"a writable {self._kind} file {self.path} at {self._sample_rate} Hz"
            )
            remedy = "Check the disk, the rights, and that the format knows this rate."
            text = message(self._where, wanted, error, remedy)
            raise AudioFileError(text) from error


def _quality(
    where: str, kind: str, sample_rate: int, bitrate: int | None
) -> dict[str, Any]:
    """libsndfile's words for how much an encoder may lose."""
    if bitrate is None:  # about 250 kbit/s
        if kind == "MP3":
            return {"bitrate_mode": "VARIABLE", "compression_level": 0.0}
        return {"compression_level": 0.3} if kind == "OGG" else {}
    from_rate = next(rate for rate in _MP3_BITRATES if sample_rate >= rate)
    known, lowest = _MP3_BITRATES[from_rate], _MP3_LOWEST[from_rate]
    if kind != "MP3" or bitrate not in known:
        wanted = f"a bitrate of {known} kbit/s at {sample_rate} Hz, for mp3 alone"
        remedy = "Choose one of them, or None."
        raise InputError(message(where, wanted, f"{bitrate} for {kind}", remedy))
    level = (known[-1] - bitrate) / (known[-1] - lowest)
    return {"bitrate_mode": "CONSTANT", "compression_level": level}


def _quantized(
    block: Tensor, code: str, dither: np.random.Generator | None
) -> NDArray[Any]:
    """What libsndfile stores without further rounding, (samples, channels)."""
    if code not in _STORED:
        return block.float().T.numpy()
    bits = 16 if code == "PCM_16" else 24
    steps = block.double().T.numpy() * 2 ** (bits - 1)
    if dither is not None:
        # Drawn for every sample, needed or not: so the next block goes on all the same.
        uniform = dither.random((*steps.shape, 2))
        triangular = uniform[..., 0] - uniform[..., 1]
        steps = np.where(steps == np.rint(steps), steps, steps + triangular)
    steps = np.rint(steps).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if bits == 16:
        return steps.astype(np.int16)
    return steps.astype(np.int32) << 8
