"""Where several passes over a song agree, and the pieces of the song that this leaves.

    passes  (passes, stems, channels, n)  ─usdr─▶ dB of each stem in each window
    windows │ agree │ agree │ differ │ agree │  ──▶ pieces ├──────────────┤ … ├──────┤

A teacher that is sure of its estimate gives the same one for a song with its channels
swapped or its polarity inverted. Agreement is no proof: a teacher that errs in the same
way in all passes agrees with itself. Notebook: 05.
"""

import itertools
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mssedu.metrics.ratios import usdr
from mssedu.separation.label_set import LabelConfig

Read = Callable[[int, int], tuple[Tensor, Tensor]]


def turned(audio: Tensor, number: int) -> Tensor:
    """Audio (…, channels, samples) as a pass reads it; done twice, it is as before.

    Pass 0 reads the song as it is, 1 with swapped channels and inverted polarity, 2
    with inverted polarity, 3 with swapped channels, 4 as it is, and so on.

    Example:
        >>> turned(torch.tensor([[1.0], [2.0]]), 1)
        tensor([[-2.],
                [-1.]])
    """
    audio = -audio if number % 4 in (1, 2) else audio
    return audio.flip(-2) if number % 4 in (1, 3) else audio


def agreement(passes: Tensor) -> Tensor:
    """How well estimates of one mixture agree: the lowest usdr of any two of them.

    Args:
        passes: (passes, stems, channels, samples).

    Returns:
        (stems,) dB: 100 if all are equal, about 0 if they have nothing in common.

    Example:
        >>> stem = torch.ones(1, 2, 1000)
        >>> agreement(torch.stack([stem, 0.9 * stem])).round()
        tensor([20.])
    """
    pairs = itertools.combinations(passes, 2)
    found = torch.stack([usdr(reference=a, estimate=b) for a, b in pairs])
    return found.nan_to_num(0.0).amin(0)  # NaN: one of the two is silent


@dataclass(frozen=True)
class Measured:
    """The agreement of a song, window by window."""

    config: LabelConfig
    stems: tuple[str, ...]
    sample_rate: int  # Hz
    samples: int  # of the song
    agreement: Tensor  # (windows, stems) dB
    silent: Tensor  # (windows, stems) bool
    peaks: list[float]  # largest absolute sample of the labels and the mixture

    @property
    def length(self) -> int:
        """Samples of a window; the last one may be shorter."""
        return round(self.config.window_seconds * self.sample_rate)

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """Runs of windows in which all stems agree: first sample, one after last."""
        agree = self.silent | (self.agreement >= self.config.min_agreement)
        found, begin = [], 0
        for kept, run in itertools.groupby(agree.all(1).tolist()):
            end = min(begin + sum(1 for _ in run) * self.length, self.samples)
            found += [(begin, end)] if kept else []
            begin = end
        return found

    @cached_property
    def pieces(self) -> list[tuple[int, int]]:
        """The spans that are long enough."""
        shortest = self.config.min_seconds * self.sample_rate
        return [(begin, end) for begin, end in self.spans if end - begin >= shortest]

    @property
    def gain(self) -> float:
        """One gain for all pieces, below 1 if an integer format needs it."""
        if self.config.subtype == "float32":
            return 1.0
        peaks = [
            peak
            for begin, end in self.pieces
            for peak in self.peaks[begin // self.length : -(-end // self.length)]
        ]
        return 1 / max([1.0, *peaks])

    def record(self, name: str) -> dict[str, Any]:
        """What the manifest says of a song."""
        columns = zip(self.stems, self.agreement.T, self.silent.T, strict=True)
        windows = {
            stem: [
                None if is_silent else round(value, 2)
                for value, is_silent in zip(values.tolist(), silent, strict=True)
            ]
            for stem, values, silent in columns
        }
        sounding = {
            stem: [value for value in values if value is not None]
            for stem, values in windows.items()
        }
        agreed = sum(end - begin for begin, end in self.spans)
        kept = sum(end - begin for begin, end in self.pieces)
        left_out = {"agreement": self.samples - agreed, "too short": agreed - kept}
        return {
            "samples": self.samples,
            "kept_seconds": round(kept / self.sample_rate, 3),
            "left_out_seconds": {
                reason: round(samples / self.sample_rate, 3)
                for reason, samples in left_out.items()
            },
            "agreement": {  # median of the windows; None: silent in all of them
                stem: round(statistics.median(values), 2) if values else None
                for stem, values in sounding.items()
            },
            "windows": windows,
            "pieces": [
                {"name": f"{name}_{number:03d}", "start": begin, "samples": end - begin}
                for number, (begin, end) in enumerate(self.pieces)
            ],
        }


def measure(
    read: Read,
    samples: int,
    sample_rate: int,
    stems: tuple[str, ...],
    config: LabelConfig,
) -> Measured:
    """Compare the passes over a song in each window.

    Args:
        read: (begin, end) -> the passes (passes, stems, channels, end - begin), and the
            mixture (channels, end - begin); begin never falls.
        samples: length of the song.
        sample_rate: Hz.
        stems: their names.
        config: the options.
    """
    length = round(config.window_seconds * sample_rate)
    found, powers, peaks, energy = [], [], [], 0.0
    for begin in range(0, samples, length):
        passes, mixture = read(begin, min(begin + length, samples))
        found.append(agreement(passes))
        powers.append(passes.double().square().mean((-2, -1)).amax(0))
        peaks.append(float(torch.cat([*passes.mean(0), mixture]).abs().max()))
        energy += float(mixture.double().square().sum())
    power = energy / (samples * len(mixture))
    limit = power * 10 ** (-config.silent_db / 10)
    silent = torch.stack(powers) <= limit
    return Measured(
        config, stems, sample_rate, samples, torch.stack(found), silent, peaks
    )
