"""Scores of a model on tracks, beside the scores of silence, mixture and oracles.

    tracks ──estimates──▶ score_track ──▶ FOLDER/tracks/TRACK.json ──▶ Evaluation
             (a model, or                (an interrupted run goes     means, medians,
              files on disk)              on with the next track)     intervals

A silent reference has no usdr: its track is left out of the mean and counted, and the
level of the estimate in that track is reported instead. A stem that is absent from a
track has no reference: the track has no score of it, and is counted, too. Notebook: 04.
"""

import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import mssedu
from mssedu.audio.files import sweep
from mssedu.data.track import Track
from mssedu.data.workers import start_worker
from mssedu.errors import (
    DatasetError,
    InputError,
    MssEduError,
    check_name,
    check_range,
)
from mssedu.evaluation.estimates import (
    DEFAULTS,
    Estimates,
    FileEstimates,
    FunctionEstimates,
    ModelEstimates,
    content_sha256,
)
from mssedu.evaluation.result import Evaluation, track_form
from mssedu.evaluation.store import ScoreStore, StemStore
from mssedu.evaluation.track import (
    ROWS,
    Job,
    TrackScores,
    check_not_absent,
    score_track,
)
from mssedu.metrics.table import METRICS
from mssedu.models.contract import config_of, grouping_of, pick_device
from mssedu.models.stems import stem_names
from mssedu.separation.config import SeparateConfig
from mssedu.weights.checkpoint import git_commit

CUSTOMARY = ("silence", "mixture", "model", "irm")
Unscored = tuple[Track, Tensor | None, str]  # track, estimates, hash of the track


def evaluate(
    model: nn.Module | None,
    tracks: Sequence[Track],
    *,
    metrics: Sequence[str] = ("usdr", "csdr"),
    rows: Sequence[str] = CUSTOMARY,
    estimates: FileEstimates | Callable[[Track], Tensor] | None = None,
    separation: SeparateConfig = DEFAULTS,
    device: str = "auto",
    folder: str | Path | None = None,
    stems_folder: str | Path | None = None,
    align: bool = False,
    museval: bool = False,
    workers: int = 0,
    log: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int, str], None] = lambda done, n, name: None,
) -> Evaluation:
    """Score every stem of every track; tracks that `folder` has already are skipped.

    Args:
        model: follows the contract; None with `estimates`, or without the row "model".
        tracks: with all stems of the model; other parts of their mixtures count too.
        metrics: names of scores, see `mssedu.metrics.METRICS`.
        rows: what to score: "silence", "mixture", "model", "ibm", "irm", "mwf".
        estimates: stems on disk, or a function of a track, in place of a model.
        separation: how the model separates, as in `mssedu.separate`.
        device: where the model computes: "auto", "cpu", "cuda" or "mps".
        folder: for the scores, a JSON file per track, and for museval's files.
        stems_folder: for the estimates, as audio files.
        align: measure the lag of the estimates, report it and remove it.
        museval: also write the frames of BSS Eval for museval into `folder`.
        workers: processes that score while the next track is separated; 0: none.
        log: is called with a line for stored scores that cannot be used, and for lags.
        progress: is called with tracks done, tracks in all and the next one's name.

    Raises:
        DatasetError: no tracks, two with the same name, or a stem that all lack.
        InputError: an unknown name, a track that lacks a stem or does not fit.
        DiskError: too little room for the stems.

    Example:
        >>> noise = {stem: torch.randn(2, 8000) for stem in ("voice", "rest")}
        >>> song = Track.from_audio("a song", noise, 8000)
        >>> scores = evaluate(None, [song], metrics=["usdr"], rows=["silence", "irm"])
        >>> scores.mean("usdr", "silence", "voice")
        0.0
    """
    rows, metrics = (tuple(dict.fromkeys(names)) for names in (rows, metrics))
    _check_request(tracks, metrics, rows, workers)
    source = _source(model, estimates, tracks[0].stems, rows, separation, device)
    grouping = source.grouping if source else tracks[0].stems
    job = Job(stem_names(grouping), metrics, rows, align, museval, grouping)
    _check_songs(tracks, grouping, source, align)
    names = [track.name for track in tracks]
    form = track_form(metrics, rows, job.stems)
    store = ScoreStore(Path(folder) if folder else None, log, names, form)
    stem_store = StemStore(stems_folder, source, names) if stems_folder else None
    for place in (folder, stems_folder):
        if place:
            sweep(Path(place), below=True)
    if stem_store:
        stem_store.check(tracks)
    scores: dict[str, TrackScores] = {}
    keys: dict[str, dict[str, Any] | None] = {}

    def unscored() -> Iterator[Unscored]:
        for number, track in enumerate(tracks):
            progress(number, len(tracks), track.name)
            content = content_sha256(track)
            track = track.with_stems(grouping)
            keys[track.name] = key = _key(track, content, source, job)
            stored = store.read(track.name, key)
            if stored and (stem_store is None or stem_store.holds(track)):
                scores[track.name] = stored
                continue
            # Decode once; another process reads the files itself.
            track = track if workers else track.in_memory()
            # Where all stems are absent, nothing is compared with the estimates.
            is_needed = bool(track.present or stem_store)
            estimate = source(track) if source and is_needed else None
            if stem_store and estimate is not None:
                stem_store.write(track, estimate)
            yield track, estimate, content

    for new in _scored(unscored(), job, workers):
        store.write(new, keys[new.name])
        scores[new.name] = new
        if new.lag:
            log(f"{new.name}: estimates {new.lag} samples late, aligned")
    progress(len(tracks), len(tracks), "")
    in_order = {name: scores[name] for name in names}
    about = {
        "mssedu": mssedu.__version__,
        "commit": git_commit(),
        "estimates": source.about if source else None,
        "sample_rate": tracks[0].sample_rate,
    }
    return Evaluation(job.stems, metrics, rows, in_order, about, job.definitions)


def _scored(
    unscored: Iterator[Unscored], job: Job, workers: int
) -> Iterator[TrackScores]:
    """The scores of the tracks, in their order."""
    if not workers:
        yield from (score_track(*track, job) for track in unscored)
        return
    # A fork of this process could inherit a lock that nobody releases, so spawn one.
    spawn = multiprocessing.get_context("spawn")
    threads = (max(1, torch.get_num_threads() // workers),)
    pool = ProcessPoolExecutor(workers, spawn, start_worker, threads)
    try:
        pending: deque[Future[TrackScores]] = deque()
        for track in unscored:
            pending.append(pool.submit(score_track, *track, job))
            if len(pending) > workers:  # each of them takes memory
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise MssEduError(
            f"one of the {workers} processes that compute scores was ended, perhaps "
            "for want of memory. Choose fewer --workers (workers in Python); finished "
            "tracks are not computed again if there is a folder for the scores."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _check_request(
    tracks: Sequence[Track], metrics: Sequence[str], rows: Sequence[str], workers: int
) -> None:
    if not tracks:
        raise DatasetError(
            "there are no tracks to evaluate. Check the folder and the split that you "
            "gave to mssedu.load_dataset."
        )
    uses = Counter(track.name for track in tracks)
    doubled = [name for name, count in uses.items() if count > 1]
    if doubled:
        raise DatasetError(
            f"several tracks have the name {', '.join(doubled)}. Scores are stored by "
            "name: rename the tracks."
        )
    for name in metrics:
        check_name("metric", name, METRICS)
    for row in rows:
        check_name("row", row, ROWS)
    for kind, names in (("metrics", metrics), ("rows", rows)):
        if not names:
            raise InputError(f"{kind} are empty. Name at least one.")
    check_range("workers", workers, 0)


def _check_songs(
    tracks: Sequence[Track],
    grouping: tuple[str, ...],
    source: Estimates | None,
    align: bool,
) -> None:
    """Find mistakes before hours are spent on the first track."""
    songs = (track.with_stems(grouping) for track in tracks)
    check_not_absent(songs, stem_names(grouping))
    if source:
        for track in tracks:
            source.check(track.with_stems(grouping), align)


def _source(
    model: nn.Module | None,
    estimates: FileEstimates | Callable[[Track], Tensor] | None,
    stems: tuple[str, ...],
    rows: Sequence[str],
    separation: SeparateConfig,
    device: str,
) -> Estimates | None:
    """The source of the estimates; None if no row needs any."""
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
        raise InputError(
            'the row "model" needs a model or estimates, and both are None. Give one '
            "of them, or leave the row out."
        )
    return ModelEstimates(model, separation, pick_device(device))


def _key(
    track: Track, content: str, source: Estimates | None, job: Job
) -> dict[str, Any] | None:
    """All that the scores of a track depend on; None if not all of it is known."""
    identity = source.identity(track) if source else ()
    if identity is None:
        return None
    key = {
        "audio_sha256": content,
        "stems": job.grouping,
        "definitions": job.definitions,
        "museval": job.museval,
        "estimates": identity,
    }
    # The same files may also be read with these stems as silent ones.
    return key | {"absent": track.absent} if track.absent else key
