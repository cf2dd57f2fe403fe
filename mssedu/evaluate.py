"""Scores of a model on tracks, between the rows that make the numbers honest.

    silence   what an empty estimate scores: 0 dB usdr
    mixture   what doing nothing scores
    model     the model
    irm       what the ideal ratio mask scores, which was shown the answer

A model below the upper of the first two has learned nothing; the last is the ceiling of
any magnitude mask. A silent reference has no usdr: it is left out of the mean and
counted, and the energy that the estimate puts there is told instead. Notebook: 04.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.audio import rms_db
from mssedu.checks import DatasetError, InputError, check_name, message
from mssedu.chunks import Chunks, chunk_starts, chunk_weight
from mssedu.contract import ModelConfig, config_of, settle_segment
from mssedu.datasets.track import Track
from mssedu.masks import apply_mask, ideal_ratio_mask
from mssedu.metrics import usdr
from mssedu.overlap_add import overlap_add, whole
from mssedu.separate import separate
from mssedu.spectral import istft, stft

DEFINITION = "usdr"
ROWS = ("silence", "mixture", "model", "irm")
Scores = Mapping[str, float | None]  # stem -> dB; None where the reference is silent


@dataclass(frozen=True)
class Evaluation:
    """Scores of every track, by row and stem."""

    stems: tuple[str, ...]
    tracks: Mapping[str, Mapping[str, Scores]]  # track -> row -> stem -> dB
    leaks: Mapping[str, Mapping[str, float]]  # track -> silent stem -> estimate, dBFS
    definition: str = DEFINITION

    @property
    def rows(self) -> tuple[str, ...]:
        """Row names, worst to best by nature."""
        return tuple(next(iter(self.tracks.values())))

    def mean(self, row: str, stem: str) -> float | None:
        """Mean over the tracks in which the stem sounds, dB; None if it never does."""
        scores = [self.tracks[track][row][stem] for track in self.tracks]
        audible = [score for score in scores if score is not None]
        return sum(audible) / len(audible) if audible else None

    def n_silent(self, stem: str) -> int:
        """Tracks that have no such stem, and are left out of its mean."""
        return sum(stem in leak for leak in self.leaks.values())

    def table(self) -> str:
        """Mean scores as a Markdown table, with what was left out."""
        head = [f"{self.definition}, dB", *self.stems]
        lines = [head, ["---", *["---:"] * len(self.stems)]]
        for row in self.rows:
            scores = [self.mean(row, stem) for stem in self.stems]
            lines.append([row, *["–" if s is None else f"{s:.2f}" for s in scores]])
        silent = [f"{stem} in {self.n_silent(stem)}" for stem in self.stems]
        note = f"Mean of {len(self.tracks)} tracks; silent, so not counted: "
        text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"{text}\n\n{note}{', '.join(silent)}.\n"

    def save(self, path: str | Path) -> Path:
        """Write everything as JSON; undefined scores are null."""
        document = {
            "definition": self.definition,
            "stems": self.stems,
            "n_tracks": len(self.tracks),
            "mean": {row: {s: self.mean(row, s) for s in self.stems} for row in ROWS},
            "n_silent": {stem: self.n_silent(stem) for stem in self.stems},
            "tracks": self.tracks,
            "estimate_at_silence_dbfs": self.leaks,
        }
        path = Path(path)
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False), "utf-8")
        return path


def evaluate(
    model: nn.Module,
    tracks: Sequence[Track],
    *,
    estimates: Callable[[Track], Tensor] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    **separate_options: Any,
) -> Evaluation:
    """Separate tracks and score every stem against silence, mixture and oracle.

    Args:
        model: follows the contract.
        tracks: with all of the model's stems, at its sample rate and channels.
        estimates: gives (stems, channels, samples) of a track; the model does if None.
        progress: is called with tracks done, tracks in all and the next one's name.
        **separate_options: segment, overlap … of `mssedu.separate`.

    Raises:
        DatasetError: no tracks.
        InputError: a track lacks a stem or has another sample rate.
    """
    if not tracks:
        remedy = "Look at what mssedu.load_dataset returned, and at the split."
        raise DatasetError(message("evaluate", "at least one track", 0, remedy))
    config = config_of(model)
    stems = config.stems
    settle_segment(config, separate_options)
    scores: dict[str, dict[str, Scores]] = {}
    leaks: dict[str, dict[str, float]] = {}
    for number, track in enumerate(tracks):
        if progress:
            progress(number, len(tracks), track.name)
        check_track(track, config)
        track = track.in_memory()  # read below as stems and as mixture: decode once
        sources = torch.stack([track.stem(stem) for stem in stems])
        mixture = track.mixture()
        if estimates is None:
            estimate = separate(model, mixture, **separate_options).cpu()
        else:
            estimate = estimates(track)
        rows = {
            "silence": torch.zeros_like(sources),
            "mixture": mixture.expand_as(sources),
            "model": estimate,
            "irm": ideal_ratio_estimate(sources, mixture, track.sample_rate),
        }
        scores[track.name] = {row: _scores(stems, sources, rows[row]) for row in ROWS}
        leaks[track.name] = {
            stem: max(rms_db(estimate[i]), -150.0)
            for i, stem in enumerate(stems)
            if not sources[i].any()
        }
    if progress:
        progress(len(tracks), len(tracks), "")
    return Evaluation(tuple(stems), scores, leaks)


def ideal_ratio_estimate(sources: Tensor, mixture: Tensor, sample_rate: int) -> Tensor:
    """The oracle's estimate: ideal ratio masks (4096/1024) on the mixture.

    Computed in chunks of 10 s, like a model, so that long tracks need little memory.

    Args:
        sources: (stems, channels, samples).
        mixture: (channels, samples).
        sample_rate: Hz.

    Returns:
        (stems, channels, samples).
    """
    n_stems, channels, samples = sources.shape

    def process(shown: Tensor) -> Tensor:
        spectrograms = stft(shown.unflatten(1, (1 + n_stems, channels)))
        mask = ideal_ratio_mask(spectrograms[:, 1:])
        masked = apply_mask(mask, spectrograms[:, 0])
        return istft(masked, length=shown.shape[-1])

    # The mixture, then all sources, as channels of one signal.
    shown = torch.cat([mixture, sources.reshape(n_stems * channels, samples)])
    length = min(10 * sample_rate, samples)
    chunks = Chunks(
        samples=samples,
        length=length,
        starts=chunk_starts(samples, length, overlap=0.25),
        weight=chunk_weight(length),
        width=length,
    )

    def read(begin: int, end: int) -> Tensor:
        return shown[:, begin:end]

    return whole(overlap_add(process, read, chunks, sample_rate), samples)


def check_track(track: Track, config: ModelConfig) -> None:
    """Raise InputError unless the track has the model's stems, rate and channels."""
    for stem in config.stems:
        check_name(f"evaluate {track.name}", "stem", stem, track.stems)
    got = (track.sample_rate, track.channels)
    if got != (config.sample_rate, config.channels):
        wanted = f"{config.sample_rate} Hz, {config.channels} channels"
        remedy = "Convert the data set to the model's format first."
        text = message(
            f"evaluate {track.name}", wanted, f"{got[0]} Hz, {got[1]}", remedy
        )
        raise InputError(text)


def _scores(stems: Sequence[str], sources: Tensor, estimate: Tensor) -> Scores:
    values = usdr(reference=sources, estimate=estimate).tolist()
    return {
        stem: None if math.isnan(value) else value
        for stem, value in zip(stems, values, strict=True)
    }
