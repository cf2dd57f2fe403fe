"""Sounds on their way to the browser: checked, then 16-bit, with nothing cut off.

    label -> (channels, samples) ──check_sounds──▶ the same, finite, of one shape
                                 ──encode────────▶ int16 bytes and their full scale

The browser multiplies by the full scale again, so an estimate that exceeds ±1 is
neither clipped nor made quieter on the way. Notebook: 13.
"""

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass

import soundfile
import torch
from torch import Tensor

from mssedu.errors import InputError, check_finite, check_range, message

LONGEST = 30.0  # seconds: what a listener can keep in mind, and a browser draw
LARGEST = 20e6  # bytes of all sounds of a widget together
LOWEST_RATE, HIGHEST_RATE = 8000, 96000  # Hz, what every browser plays
_STEPS = 32767  # of a 16-bit sample, to either side


def check_sounds(
    where: str, sounds: Mapping[str, Tensor], sample_rate: int
) -> dict[str, Tensor]:
    """The sounds as float32 on the CPU, once they are fit to be heard together.

    Args:
        where: the widget's name, for messages.
        sounds: label -> (channels, samples), mono or stereo, all of one shape.
        sample_rate: Hz, 8000 … 96000.

    Raises:
        InputError: no sounds, another or a second shape, NaN or Inf, a sample rate that
            browsers do not play, or more than 30 s or 20 MB.
    """
    check_range("sample_rate (Hz)", sample_rate, LOWEST_RATE, HIGHEST_RATE, where=where)
    if not sounds:
        raise InputError(message(where, "at least one sound", "none", "Add one."))
    shape = next(iter(sounds.values())).shape
    for label, sound in sounds.items():
        if sound.ndim != 2 or sound.shape[0] not in (1, 2) or not sound.shape[1]:
            wanted = f"{label or 'audio'} as (channels 1 or 2, samples ≥ 1)"
            remedy = "For one channel use audio[None]; for more, choose two."
            raise InputError(message(where, wanted, tuple(sound.shape), remedy))
        if sound.shape != shape:
            wanted = f"{label} shaped {tuple(shape)} like the first sound"
            remedy = "Cut to one length; mssedu.audio.match_channels for channels."
            raise InputError(message(where, wanted, tuple(sound.shape), remedy))
    channels, samples = shape
    check_size(where, len(sounds), channels, samples, sample_rate)
    ready = {k: v.detach().cpu().float() for k, v in sounds.items()}
    for sound in ready.values():
        check_finite(where, sound, sample_rate)
    return ready


def check_size(
    where: str, n_sounds: int, channels: int, samples: int, sample_rate: int
) -> None:
    """Raise InputError over 30 s, or over 20 MB of 16-bit samples in all sounds."""
    seconds = samples / sample_rate
    if seconds > LONGEST:
        got = f"{seconds:.1f} s"
        remedy = f"Cut an excerpt, such as audio[:, : {int(LONGEST)} * sample_rate]."
        raise InputError(message(where, f"at most {LONGEST:.0f} s", got, remedy))
    size = 2 * n_sounds * channels * samples
    if size > LARGEST:
        got = f"{size / 1e6:.1f} MB in {n_sounds} sounds"
        remedy = "Show fewer sounds, or a shorter excerpt of them."
        raise InputError(message(where, f"at most {LARGEST / 1e6:.0f} MB", got, remedy))


def encode(sound: Tensor) -> tuple[bytes, float]:
    """16-bit little-endian samples, channel after channel, and their full scale.

    Rounded to the nearest step of 1/32767 of the full scale, and not dithered.

    Args:
        sound: (channels, samples).

    Returns:
        The samples, and the value that 32767 stands for: 1, or the peak if that is
        more.

    Example:
        >>> samples, scale = encode(torch.tensor([[0.0, 1.0, -2.0]]))
        >>> samples.hex(" ", 2), scale
        ('0000 0040 0180', 2.0)
    """
    scale = max(1.0, float(sound.abs().max()))
    steps = (sound / scale * _STEPS).round().to(torch.int16)
    return steps.numpy().astype("<i2").tobytes(), scale


def shape_of(sound: Tensor, sample_rate: int) -> dict[str, int]:
    """What the browser must know of a sound to read it, as plain values.

    Args:
        sound: (channels, samples).
        sample_rate: Hz.
    """
    channels, samples = sound.shape
    return {"sample_rate": sample_rate, "channels": channels, "samples": samples}


@dataclass(frozen=True, repr=False)
class PlainPlayers:
    """Audio elements for places without widgets: one below the other, not in step."""

    text: str
    flac: dict[str, bytes]  # label -> file

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        rows = []
        for label, content in self.flac.items():
            name = html.escape(label)
            source = f"data:audio/flac;base64,{base64.b64encode(content).decode()}"
            rows.append(
                f"<figure style='margin: 0.3em 0'><figcaption>{name}</figcaption>"
                f"<audio controls aria-label='{name}' src='{source}'></audio></figure>"
            )
        return "".join(rows)


def plain_players(
    text: str, sounds: Mapping[str, Tensor], sample_rate: int
) -> PlainPlayers:
    """The sounds as FLAC in audio elements; samples beyond ±1 are cut off.

    Args:
        text: what stands where not even HTML is shown.
        sounds: label -> (channels, samples).
        sample_rate: Hz.
    """
    files = {}
    for label, sound in sounds.items():
        file, samples = io.BytesIO(), sound.clamp(-1, 1).T.numpy()
        soundfile.write(file, samples, sample_rate, format="FLAC", subtype="PCM_16")
        files[label] = file.getvalue()
    return PlainPlayers(text, files)
