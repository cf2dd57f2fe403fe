"""One song beside its estimates: numbers, and what to listen to.

    sources, mixture, estimate ─┬─▶ errors()  windows, bleed, a stretch of music
                                └─▶ worst()   windows of the lowest score, to hear

`error_analysis` does this for song after song. Notebook: 04.
"""

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mssedu.audio.tensors import peak_db
from mssedu.data.track import is_source
from mssedu.evaluation.error_windows import (
    HOP_SECONDS,
    Windows,
    score_windows,
    worst_windows,
)
from mssedu.metrics.bleed import FLOOR_DB, Bleed, find_bleed
from mssedu.metrics.ratios import usdr

REST = "rest"  # of the mixture, beside all stems that are separated
EXCERPT_SECONDS = 3.0  # around a worst window
STRETCH_SECONDS = 15.0  # around the worst window of a song
BLOCK_SECONDS = 30  # of which the bleed is computed at once: bounds the memory

Sounds = Mapping[str, Tensor]  # label -> (channels, samples)


@dataclass(frozen=True)
class Stretch:
    """A piece of a song to listen to."""

    start: float  # seconds into the song
    sounds: Sounds


@dataclass(frozen=True)
class TrackErrors:
    """What is known of one song."""

    name: str
    usdr: Tensor  # (stems) dB, of the whole song; NaN where the stem is silent
    windows: Windows
    bleed: Bleed  # of the stems, then the rest of the mixture
    stretch: Stretch | None  # mixture and estimates; of the worst songs only


@dataclass(frozen=True)
class WorstExcerpt:
    """One of the worst windows, with some music around it; dB against the true stem."""

    track: str
    stem: str
    seconds: float  # middle of the window in the song
    usdr: float
    level_db: float  # of the true stem, dB below full scale
    peak_db: float  # of the estimate, dB below full scale
    lost_db: float  # of the stem, in its estimate
    bled_from: str  # the other source of which most is found there; "" if none is
    bleed_db: float
    artifacts_db: float  # what no source explains
    stretch: Stretch  # mixture, reference, estimate


@dataclass(frozen=True)
class Song:
    """A track and its estimates, while they are looked at."""

    name: str
    stems: tuple[str, ...]
    sample_rate: int
    sources: Tensor  # (stems, channels, samples)
    mixture: Tensor  # (channels, samples)
    estimate: Tensor  # (stems, channels, samples)

    def errors(self) -> TrackErrors:
        """All numbers, and a stretch around the worst window."""
        windows = score_windows(
            references=self.sources,
            estimates=self.estimate,
            mixture=self.mixture,
            sample_rate=self.sample_rate,
        )
        scores = usdr(reference=self.sources, estimate=self.estimate)
        (_, window), *_ = worst_windows(windows, 1, 0.0) or [(0, 0)]
        around = self.around(float(windows.seconds[window]), STRETCH_SECONDS)
        sounds = dict(zip(self.stems, self.estimate[..., around].clone(), strict=True))
        sounds = {"mixture": self.mixture[:, around].clone()} | sounds
        stretch = Stretch(around.start / self.sample_rate, sounds)
        blocks = range(0, self.mixture.shape[-1], BLOCK_SECONDS * self.sample_rate)
        spans = (slice(at, at + BLOCK_SECONDS * self.sample_rate) for at in blocks)
        bleed = functools.reduce(operator.add, map(self.bleed, spans))
        return TrackErrors(self.name, scores, windows, bleed, stretch)

    def worst(self, windows: Windows, n: int, limit: float) -> list[WorstExcerpt]:
        """The n worst windows, as far as they score below the limit."""
        return [
            self.excerpt(windows, stem, window)
            for stem, window in worst_windows(windows, n, EXCERPT_SECONDS)
            if windows.usdr[stem, window] < limit
        ]

    def excerpt(self, windows: Windows, stem: int, window: int) -> WorstExcerpt:
        """What is wrong in one window, and how it sounds."""
        seconds = float(windows.seconds[window])
        inside = self.around(seconds, 2 * HOP_SECONDS)
        found = self.bleed(inside).of_errors()[:, stem]
        lost, artifacts = float(found[stem]), float(found[-1])
        found[[stem, -1]] = torch.nan
        found = found.nan_to_num(FLOOR_DB)
        bled = int(found.argmax())
        around = self.around(seconds, EXCERPT_SECONDS)
        sounds = {
            "mixture": self.mixture[:, around].clone(),
            "reference": self.sources[stem, :, around].clone(),
            "estimate": self.estimate[stem, :, around].clone(),
        }
        return WorstExcerpt(
            track=self.name,
            stem=self.stems[stem],
            seconds=seconds,
            usdr=float(windows.usdr[stem, window]),
            level_db=float(windows.level_db[stem, window]),
            peak_db=max(peak_db(self.estimate[stem, :, inside]), FLOOR_DB),
            lost_db=lost,
            bled_from=(*self.stems, REST)[bled] if found[bled] > FLOOR_DB else "",
            bleed_db=float(found[bled]),
            artifacts_db=artifacts,
            stretch=Stretch(around.start / self.sample_rate, sounds),
        )

    @functools.cached_property
    def has_rest(self) -> bool:
        """Whether the mixture holds more than the stems and what a codec changed."""
        return is_source(self.mixture - self.sources.sum(0), self.mixture)

    def bleed(self, span: slice) -> Bleed:
        """Of the stems and the rest of the mixture, in a span of samples.

        The rest is what no stem holds: everything but the voice for a model that takes
        out the voice. Its estimate is what the estimates leave of the mixture.
        """
        sources, estimate = self.sources[..., span], self.estimate[..., span]
        mixture = self.mixture[..., span]
        left = mixture - estimate.sum(0)
        rest = mixture - sources.sum(0) if self.has_rest else torch.zeros_like(left)
        return find_bleed(
            references=torch.cat([sources, rest[None]]),
            estimates=torch.cat([estimate, left[None]]),
            sample_rate=self.sample_rate,
        )

    def around(self, seconds: float, duration: float) -> slice:
        """Samples of a span around a moment, moved where it would leave the song."""
        samples = self.mixture.shape[-1]
        length = min(round(duration * self.sample_rate), samples)
        first = round(seconds * self.sample_rate) - length // 2
        first = min(max(first, 0), samples - length)
        return slice(first, first + length)
