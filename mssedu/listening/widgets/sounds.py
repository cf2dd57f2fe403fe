"""Sounds for the browser: checked, and encoded in 16 bits without clipping.

    label -> (channels, samples) ──check_sounds──▶ the same, finite, of one shape
                                 ──encode────────▶ int16 bytes and their full scale

The browser multiplies by the full scale again, so an estimate that exceeds ±1 is
neither clipped nor made quieter. Notebook: 13.
"""

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mssedu.audio.writer import flac_bytes
from mssedu.errors import (
    InputError,
    check_axes,
    check_finite,
    check_range,
)

LONGEST = 30.0  # seconds: longer sounds are hard to compare and slow to draw
LARGEST = 20e6  # bytes of all sounds of a widget together, in 16 bits
LOWEST_RATE, HIGHEST_RATE = 8000, 96000  # Hz, which every browser plays
_STEPS = 32767  # 16-bit steps from 0 to full scale


def check_sounds(sounds: Mapping[str, Tensor], sample_rate: int) -> dict[str, Tensor]:
    """Check that sounds can be compared; return them as float32 on the CPU.

    Raises:
        InputError: no sounds, a wrong shape or two shapes, NaN or Inf, a sample rate
            that browsers do not play, or more than 30 s or 20 MB.
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
    channels, samples = sounds[first].shape
    seconds, size = samples / sample_rate, 2 * len(sounds) * channels * samples
    if seconds > LONGEST:
        raise InputError(
            f"a widget plays at most {LONGEST:.0f} s, got {seconds:.1f} s. Cut an "
            f"excerpt, such as audio[:, : {LONGEST:.0f} * sample_rate]."
        )
    if size > LARGEST:
        raise InputError(
            f"a widget holds at most {LARGEST / 1e6:.0f} MB, got {size / 1e6:.1f} MB "
            f"in {len(sounds)} sounds. Show fewer sounds, or a shorter excerpt."
        )
    ready = {label: s.detach().cpu().float() for label, s in sounds.items()}
    for label, sound in ready.items():
        check_finite(label or "audio", sound, sample_rate)
    return ready


def encode(sound: Tensor) -> tuple[bytes, float]:
    """(channels, samples) as 16-bit little-endian samples, and their full scale.

    One channel follows the other. The full scale is 1, or the peak if it is larger; the
    samples are rounded to steps of 1/32767 of it, without dither.

    Example:
        >>> samples, scale = encode(torch.tensor([[0.0, 1.0, -2.0]]))
        >>> samples.hex(" ", 2), scale
        ('0000 0040 0180', 2.0)
    """
    scale = max(1.0, float(sound.abs().max()))
    steps = (sound / scale * _STEPS).round().to(torch.int16)
    return steps.numpy().astype("<i2").tobytes(), scale


def shape_of(sound: Tensor, sample_rate: int) -> dict[str, int]:
    """What the browser needs to decode a sound of (channels, samples)."""
    channels, samples = sound.shape
    return {"sample_rate": sample_rate, "channels": channels, "samples": samples}


@dataclass(frozen=True, repr=False)
class PlainPlayers:
    """HTML audio elements for places without widgets; they are not synchronized."""

    text: str
    flac: dict[str, bytes]  # label -> file

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        rows = ""
        for label, content in self.flac.items():
            name, source = html.escape(label), base64.b64encode(content).decode()
            rows += (
                f"<figure style='margin: 0.3em 0'><figcaption>{name}</figcaption>"
                f"<audio controls aria-label='{name}' "
                f"src='data:audio/flac;base64,{source}'></audio></figure>"
            )
        return rows


def plain_players(
    text: str, sounds: Mapping[str, Tensor], sample_rate: int
) -> PlainPlayers:
    """Sounds of (channels, samples) as FLAC; samples beyond ±1 are clipped.

    The text replaces the players where HTML is not shown.
    """
    files = {k: flac_bytes(sound, sample_rate) for k, sound in sounds.items()}
    return PlainPlayers(text, files)
