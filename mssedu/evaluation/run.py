"""Scores of a model on tracks, between the rows that make the numbers honest.

    tracks ──estimates──▶ score_track ──▶ FOLDER/tracks/TRACK.json ──▶ Evaluation
             (a model, or                (kept: an interrupted run    means, medians,
              files on disk)              goes on where it stopped)   intervals

The parts, each a file:
    scoring        every metric by name, with its definition
    oracles        ideal masks and filters
    estimates      where estimates come from
    track_scores   all rows of one track
    evaluation     what was found; score_tables and comparison show it
A silent reference has no usdr: it is left out of the mean and counted, and the level of
what the estimate puts there is told instead. Notebook: 04.
"""

import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import mssedu
from mssedu.data.track import Track
from mssedu.errors import DatasetError, InputError, check_name, check_range, message
from mssedu.evaluation.estimates import (
    Estimates,
    FileEstimates,
    FunctionEstimates,
    ModelEstimates,
    content_sha256,
)
from mssedu.evaluation.kept_stems import KeptStems
from mssedu.evaluation.result import Evaluation
from mssedu.evaluation.score_store import ScoreStore
from mssedu.evaluation.track import ROWS, Job, TrackScores, score_track
from mssedu.metrics.table import check_metrics
from mssedu.models.contract import config_of, grouping_of
from mssedu.models.stems import stem_names
from mssedu.weights.checkpoint import git_commit

CUSTOMARY = ("silence", "mixture", "model", "irm")
Progress = Callable[[int, int, str], None]
Key = dict[str, Any]  # of stored scores


def evaluate(
    model: nn.Module | None,
    tracks: Sequence[Track],
    *,
    metrics: Sequence[str] = ("usdr", "csdr"),
    rows: Sequence[str] = CUSTOMARY,
    estimates: FileEstimates | Callable[[Track], Tensor] | None = None,
    folder: str | Path | None = None,
    stems_folder: str | Path | None = None,
    align: bool = False,
    museval: bool = False,
    workers: int = 0,
    log: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
    **settings: Any,
) -> Evaluation:
    """Score every stem of every track; what is in `folder` already is not done again.

    Args:
        model: follows the contract; None with `estimates`, or without the row "model".
        tracks: with all stems of the model; all else in their mixtures counts as well.
        metrics, rows: names of `scoring.METRICS` and of `track_scores.ROWS`.
        estimates: stems on disk, or a function of a track; then no model.
        folder: for a JSON per track, and for museval's files.
        stems_folder: for the estimates themselves, as files.
        align: estimate the lag of the estimates, tell it and take it out.
        museval: write BSS Eval's frames for museval.
        workers: processes that score while the next track is separated; 0: none.
        log: is told of stored tracks that are not used, and of lags.
        progress: is told tracks done, tracks in all and the next one's name.
        **settings: segment, overlap …: all fields of `SeparateConfig`, and device.

    Raises:
        DatasetError: no tracks, or two of one name.
        InputError: an unknown name, a track that lacks a stem or does not fit.
    """
    rows, metrics = (tuple(dict.fromkeys(names)) for names in (rows, metrics))
    _check_request(tracks, metrics, rows, workers)
    source = _source(model, estimates, tracks[0].stems, rows, settings)
    grouping = source.grouping if source else tracks[0].stems
    job = Job(stem_names(grouping), metrics, rows, align, museval, grouping)
    _check_tracks(tracks, source, job)
    store = ScoreStore(Path(folder) if folder else None, log)
    kept = KeptStems(stems_folder, source) if stems_folder else None
    tell = progress or (lambda done, n, name: None)
    with _pool(workers) as submit:
        run = _Run(source, job, store, submit, workers, log, kept)
        for number, track in enumerate(tracks):
            tell(number, len(tracks), track.name)
            run.add(track)
        run.wait()
    tell(len(tracks), len(tracks), "")
    found = {track.name: run.found[track.name] for track in tracks}
    about = _about(tracks, source)
    return Evaluation(job.stems, metrics, rows, found, about, job.definitions)


class _Run:
    """Tracks on their way: stored, computed now, or given to another process."""

    def __init__(
        self,
        source: Estimates | None,
        job: Job,
        store: ScoreStore,
        submit: Callable[..., Future[TrackScores]],
        workers: int,
        log: Callable[[str], None],
        kept: KeptStems | None,
    ) -> None:
        self.source, self.job, self.store, self.kept = source, job, store, kept
        self.submit, self.workers, self.log = submit, workers, log
        self.found: dict[str, TrackScores] = {}
        self.pending: deque[tuple[Future[TrackScores], Key | None]] = deque()

    def add(self, track: Track) -> None:
        """Have a track scored, unless its scores are stored."""
        content = content_sha256(track)
        key = _key(
            content, self.source.identity(track) if self.source else (), self.job
        )
        stored = self.store.read(track.name, key)
        if stored and (self.kept is None or self.kept.holds(track)):
            self.found[track.name] = stored
            return
        track = track.with_stems(self.job.grouping)
        track = track if self.workers else track.in_memory()  # decode once
        estimates = self.source(track) if self.source else None
        if self.kept and estimates is not None:
            self.kept.write(track, estimates)
        future = self.submit(score_track, track, estimates, content, self.job)
        self.pending.append((future, key))
        self.wait(self.workers)

    def wait(self, n: int = 0) -> None:
        """Keep the oldest scores until n are pending, each of which takes memory."""
        while len(self.pending) > n:
            future, key = self.pending.popleft()
            scores = future.result()
            self.store.write(scores, key)
            self.found[scores.name] = scores
            if scores.lag:
                self.log(f"{scores.name}: estimates {scores.lag} samples late, aligned")


def _check_request(
    tracks: Sequence[Track], metrics: Sequence[str], rows: Sequence[str], workers: int
) -> None:
    if not tracks:
        remedy = "Look at what mssedu.load_dataset returned, and at the split."
        raise DatasetError(message("evaluate", "at least one track", 0, remedy))
    doubled = [n for n, count in Counter(t.name for t in tracks).items() if count > 1]
    if doubled:
        remedy = "Scores are kept by name: rename one of them."
        wanted = "tracks of different names"
        raise DatasetError(message("evaluate", wanted, f"twice {doubled}", remedy))
    check_metrics(metrics)
    for row in rows:
        check_name("row", row, ROWS)
    for kind, names in (("metric", metrics), ("row", rows)):
        if not names:
            remedy = "Name some, or leave the default."
            raise InputError(message("evaluate", f"at least one {kind}", 0, remedy))
    check_range("workers", workers, 0)


def _check_tracks(tracks: Sequence[Track], source: Estimates | None, job: Job) -> None:
    """All that can be known before hours are spent on the first."""
    for track in tracks:
        track.with_stems(job.grouping)
        if source:
            source.check(track, job.align)


def _source(
    model: nn.Module | None,
    estimates: FileEstimates | Callable[[Track], Tensor] | None,
    stems: tuple[str, ...],
    rows: Sequence[str],
    settings: dict[str, Any],
) -> Estimates | None:
    """What gives the estimates; None if no row needs any."""
    if "model" not in rows:
        return None
    if isinstance(estimates, FileEstimates):
        return estimates
    if estimates is not None:
        if model is None:
            return FunctionEstimates(estimates, stems)
        names = tuple(config_of(model).stems)
        return FunctionEstimates(estimates, names, grouping_of(model))
    if model is None:
        remedy = 'Give one of them, or leave the row "model" out.'
        raise InputError(message("evaluate", "a model or estimates", None, remedy))
    return ModelEstimates(model, settings)


def _key(content: str, identity: Any, job: Job) -> Key | None:
    """All that the scores of a track depend on; None if not all is known."""
    if identity is None:
        return None
    return {
        "audio_sha256": content,
        "stems": job.grouping,
        "definitions": job.definitions,
        "museval": job.museval,
        "estimates": identity,
    }


def _about(tracks: Sequence[Track], source: Estimates | None) -> dict[str, Any]:
    return {
        "mssedu": mssedu.__version__,
        "commit": git_commit(),
        "estimates": source.about if source else None,
        "sample_rate": tracks[0].sample_rate,
    }


@contextmanager
def _pool(workers: int) -> Iterator[Callable[..., Future[TrackScores]]]:
    """Processes to score in; without any, this one, at once."""
    if not workers:
        yield _now
        return
    # A copy of this process could inherit a lock that nobody opens again: a new one.
    spawn = multiprocessing.get_context("spawn")
    threads = (max(1, torch.get_num_threads() // workers),)
    pool = ProcessPoolExecutor(workers, spawn, torch.set_num_threads, threads)
    try:
        yield pool.submit
    finally:
        pool.shutdown(cancel_futures=True)


def _now(function: Callable[..., TrackScores], *args: Any) -> Future[TrackScores]:
    future: Future[TrackScores] = Future()
    future.set_result(function(*args))
    return future
