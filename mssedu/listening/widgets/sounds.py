"""Sounds for the browser: checked, and encoded in 16 bits without clipping.

    label -> (channels, samples) ──check_sounds──▶ the same, finite, of one shape
      up to 30 s ──encode────────▶ int16 bytes and their full scale
      longer     ──flac_pieces───▶ FLAC files of 20 s each, and the full scale

The browser multiplies by the full scale again, so an estimate that exceeds ±1 is
neither clipped nor made quieter. Both ways give the same samples.

Why FLAC: every browser decodes it, at any sample rate, and no sample moves or changes,
so small differences can still be judged. MP3 and AAC begin with samples that each
browser removes in its own way, AAC is not decoded in VS Code, Ogg not in older Safari.
A song of 4 min with four stems takes 36 MB and 2.1 s of processor time to encode; MP3
of 192 kbit/s takes 23 MB and 31 s, with an SNR of 23 … 30 dB (`python
benchmarks/widgets.py`, busy 2-core AMD EPYC, 2026-11-30). Notebook: 13.
"""

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mssedu.audio.writer import flac_bytes, player_file
from mssedu.errors import (
    InputError,
    check_axes,
    check_finite,
    check_range,
)

RAW_SECONDS = 30.0  # up to here sounds are sent as they are, which is quickest
PIECE_SECONDS = 20.0  # of a FLAC file: a message of some MB, not of a whole song
LARGEST = 1e9  # bytes of all sounds of a widget in the browser: stereo, float32
LOWEST_RATE, HIGHEST_RATE = 8000, 96000  # Hz, which every browser plays
_STEPS = 32767  # 16-bit steps from 0 to full scale
_DECODED = 8  # bytes of a sample in the browser: two channels of float32


def check_sounds(
    sounds: Mapping[str, Tensor], sample_rate: int, longest: float | None = None
) -> dict[str, Tensor]:
    """Check that sounds can be compared; return them as float32 on the CPU.

    Args:
        sounds: label -> (channels, samples).
        sample_rate: Hz.
        longest: seconds that the widget can show; None: only the memory is a limit.

    Raises:
        InputError: no sounds, a wrong shape or two shapes, NaN or Inf, a sample rate
            that browsers do not play, too many seconds, or more than 1 GB when decoded.
    """
    check_range("sample_rate", sample_rate, LOWEST_RATE, HIGHEST_RATE)
    if not sounds:
        raise InputError("sounds is empty. Add at least one sound.")
    first = next(iter(sounds))
    for label, sound in sounds.items():
        check_axes(label or "audio", sound, ("channels", "samples"))
        if sound.shape[0] > 2:
            raise InputError(
                f"{label or 'audio'} has {sound.shape[0]} channels, and a widget plays "
                "1 or 2. Choose two of them, such as audio[:2]."
            )
        if sound.shape != sounds[first].shape:
            raise InputError(
                f"all sounds must have one shape: {first} is "
                f"{tuple(sounds[first].shape)}, {label} is {tuple(sound.shape)}."
            )
    _check_length(len(sounds), sounds[first].shape[1], sample_rate, longest)
    ready = {label: s.detach().cpu().float() for label, s in sounds.items()}
    for label, sound in ready.items():
        check_finite(label or "audio", sound, sample_rate)
    return ready


def _check_length(
    n_sounds: int, samples: int, sample_rate: int, longest: float | None
) -> None:
    """Raise an InputError with the limit and the code that keeps it."""
    seconds, size = samples / sample_rate, n_sounds * samples * _DECODED
    if longest is not None and seconds > longest:
        most = int(longest * sample_rate)
        raise InputError(
            f"this widget takes at most {longest:.0f} s, got {seconds:.1f} s. Cut "
            f"every sound with `audio[:, :{most}]`."
        )
    if size > LARGEST:
        most = int(LARGEST / (n_sounds * _DECODED))
        raise InputError(
            f"a widget holds at most {LARGEST / 1e6:.0f} MB of decoded sound, which is "
            f"{most / sample_rate:.1f} s of {n_sounds} sounds, got {seconds:.1f} s "
            f"({size / 1e6:.0f} MB). Cut every sound with `audio[:, :{most}]`."
        )


def encode(sound: Tensor) -> tuple[bytes, float]:
    """(channels, samples) as 16-bit little-endian samples, and their full scale.

    One channel follows the other. The full scale is 1, or the peak if it is larger; the
    samples are rounded to steps of 1/32767 of it, without dither.

    Example:
        >>> samples, scale = encode(torch.tensor([[0.0, 1.0, -2.0]]))
        >>> samples.hex(" ", 2), scale
        ('0000 0040 0180', 2.0)
    """
    steps, scale = _steps(sound)
    return steps.numpy().astype("<i2").tobytes(), scale


def flac_pieces(sound: Tensor, sample_rate: int) -> tuple[list[bytes], float]:
    """(channels, samples) as FLAC files of 20 s, the last one shorter, and their scale.

    The files hold the same 16-bit steps as `encode`. One after the other, they are the
    sound: no sample is missing and none is added.

    Example:
        >>> pieces, scale = flac_pieces(torch.zeros(2, 30 * 8000), 8000)
        >>> len(pieces), pieces[0][:4], scale
        (2, b'fLaC', 1.0)
    """
    steps, scale = _steps(sound)
    cut = steps.split(piece_length(sample_rate), dim=1)
    return [flac_bytes(piece, sample_rate) for piece in cut], scale


def _steps(sound: Tensor) -> tuple[Tensor, float]:
    scale = max(1.0, float(sound.abs().max()))
    return (sound / scale * _STEPS).round().to(torch.int16), scale


def piece_length(sample_rate: int) -> int:
    """The samples of a whole piece."""
    return round(PIECE_SECONDS * sample_rate)


def n_pieces(sound: Tensor, sample_rate: int) -> int:
    """The number of FLAC files of (channels, samples); 0: it is sent as it is."""
    samples = sound.shape[1]
    if samples <= RAW_SECONDS * sample_rate:
        return 0
    return -(-samples // piece_length(sample_rate))


def shape_of(sound: Tensor, sample_rate: int) -> dict[str, int]:
    """What the browser needs to decode a sound of (channels, samples)."""
    channels, samples = sound.shape
    return {"sample_rate": sample_rate, "channels": channels, "samples": samples}


@dataclass(frozen=True, repr=False)
class PlainPlayers:
    """HTML audio elements for places without widgets; they are not synchronized."""

    text: str
    files: dict[str, tuple[bytes, str]]  # label -> file, and its kind: flac or mpeg

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        rows = ""
        for label, (content, kind) in self.files.items():
            name, source = html.escape(label), base64.b64encode(content).decode()
            note = "" if kind == "flac" else " (MP3: do not judge small differences)"
            rows += (
                f"<figure style='margin: 0.3em 0'><figcaption>{name}{note}</figcaption>"
                f"<audio controls aria-label='{name}' "
                f"src='data:audio/{kind};base64,{source}'></audio></figure>"
            )
        return rows


def plain_players(
    text: str, sounds: Mapping[str, Tensor], sample_rate: int
) -> PlainPlayers:
    """Sounds of (channels, samples) as FLAC, from 30 s on as MP3.

    Samples beyond ±1 are clipped. The text is shown where HTML is not.
    """
    files = {k: player_file(sound, sample_rate) for k, sound in sounds.items()}
    return PlainPlayers(text, files)
