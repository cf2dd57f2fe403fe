"""Make a listening test, in a folder that can be moved, from folders of stems.

    RUN_A/SONG/vocals.wav ─┐
    RUN_B/SONG/vocals.wav ─┼─ loudest seconds of each song ─▶ FOLDER/test.toml
    DATA: true stems ──────┘                                  FOLDER/sounds/1/*.wav …

The excerpts are copied without any change: levels, anchors and order are settings of
test.toml, which may be changed until the first listener begins. What can be refused is
refused before the first sound is written. Notebook: 13.
"""

import math
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from mssedu.audio.disk import check_room
from mssedu.audio.tensors import load_audio, save_audio
from mssedu.audio.words import counted
from mssedu.data.loading import load_dataset
from mssedu.data.track import Track
from mssedu.errors import DatasetError, InputError, MssEduWarning
from mssedu.evaluation.estimates import FileEstimates
from mssedu.listening.test.anchors import check_anchor
from mssedu.listening.test.design import (
    FILE,
    LONGEST_SECONDS,
    REFERENCE,
    RESULTS,
    Design,
    Excerpts,
    Trial,
    check_systems,
    save_design,
)
from mssedu.listening.test.stimuli import load_stimuli
from mssedu.listening.widgets.loudness import measured_lufs
from mssedu.models.stems import stem_names

__all__ = ["FILE", "RESULTS", "SOUNDS", "create_test", "loudest_start"]

SOUNDS = "sounds"  # in a test's folder, beside FILE and RESULTS
UNFINISHED = ".unfinished"  # the folder of sounds while they are written
SAMPLE_BYTES = 4  # of the files
STEP_SECONDS = 0.5  # between two possible starts of an excerpt


def create_test(
    folder: str | Path,
    runs: Mapping[str, Path],
    excerpts: Excerpts | None = None,
    *,
    test: str = "mushra",
    title: str = "",
    reference: bool | None = None,
    anchors: tuple[str, ...] | None = None,
    questions: Mapping[str, str] | None = None,
    training: tuple[str, ...] = (),
    consent: str = "",
    questionnaire: Mapping[str, tuple[str, ...]] | None = None,
    trials_per_listener: int | None = None,
    n_replicates: int = 1,
    n_repetitions: int = 1,
    match_loudness: bool = True,
    fade_seconds: float = 0.01,
    slider_start: float = 0.0,
    least_heard_seconds: float = 1.0,
    seed: int = 0,
) -> Design:
    """Cut the excerpts and write test.toml, with a trial for each song and stem.

    A stem that is silent in its song, or absent from it, is left out, with a warning.
    After an error, the folder is as it was before.

    Args:
        folder: of the test; it must not contain a test or sounds yet.
        runs: name of a system -> folder of its stems.
        excerpts: which songs and stems to use.
        test: "mushra", "acr", "abx" or "2afc".
        title: above each page; made from the names of the stems if empty.
        reference: as in `Design`; None: True if `excerpts.data` has true stems.
        anchors: as in `Design`, like all arguments below.

    Raises:
        InputError: the folder contains a test or sounds, excerpts are longer than
            the standard allows, or as `Design`.
        DatasetError, AudioFileError: songs or stems are missing.
        DiskError: the disk has no room for the sounds.
    """
    folder, excerpts = Path(folder), excerpts or Excerpts()
    _check_free(folder)
    if not runs:
        raise InputError("runs is empty. Name folders of separated stems.")
    check_systems(runs, "Give these runs other names.")
    # Listeners read the title, so it must not contain the name of a system.
    title = title or f"Listening test: {' and '.join(stem_names(excerpts.stems))}"
    cuts, systems = _cuts(runs, excerpts)
    design = Design(
        title=title,
        test=test,
        trials=tuple(cut.trial for cut in cuts),
        reference=excerpts.data is not None if reference is None else reference,
        anchors=anchors,
        questions=questions or {},
        training=training,
        consent=consent,
        questionnaire=questionnaire or {},
        trials_per_listener=trials_per_listener,
        n_replicates=n_replicates,
        n_repetitions=n_repetitions,
        match_loudness=match_loudness,
        fade_seconds=fade_seconds,
        slider_start=slider_start,
        least_heard_seconds=least_heard_seconds,
        seed=seed,
        folder=folder,
    )
    _check_size(folder, design, cuts, excerpts.seconds)
    with _unfinished(folder) as place:
        kept = [cut.trial for cut in cuts if _write(place, cut, systems, excerpts)]
        design = replace(design, trials=tuple(kept), folder=place)
        for trial in design.trials:
            load_stimuli(design, trial.name)  # raises now what listeners would meet
        save_design(place / FILE, design)
        for name in (SOUNDS, FILE):
            (place / name).rename(folder / name)
    return replace(design, folder=folder)


@dataclass(frozen=True)
class _Cut:
    """An excerpt to be cut: the trial that it becomes, and where it comes from."""

    trial: Trial
    track: Track
    stem: str


def _check_free(folder: Path) -> None:
    """Raise InputError for a folder that cannot get a new test."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder.absolute()} is a file. Choose another folder.")
    for path in (folder / FILE, folder / SOUNDS, folder / RESULTS):
        if path.exists():
            raise InputError(f"{path.absolute()} exists. Choose another folder.")


def _cuts(
    runs: Mapping[str, Path], excerpts: Excerpts
) -> tuple[list[_Cut], dict[str, FileEstimates]]:
    """All excerpts, and the files of every system, which are checked to be there.

    A stem that is absent from a song has no excerpt: `load_dataset` warns of it.
    """
    # A run has the layout of a data set, so the same function lists its songs.
    source = excerpts.data or next(iter(runs.values()))
    options = vars(excerpts.dataset)
    tracks = load_dataset(source, excerpts.split, stems=excerpts.stems, **options)
    tracks, stems = tracks[: excerpts.tracks], tracks[0].stems
    systems = {k: FileEstimates(r, stems, excerpts.template) for k, r in runs.items()}
    for track in tracks:
        for files in systems.values():
            files.check(track, align=False)
    pairs = [(track, stem) for track in tracks for stem in track.present]
    if not pairs:
        raise DatasetError(
            f"{', '.join(stems)}: absent from all songs of {source}. Choose other "
            "stems, or songs that have them."
        )
    cuts = []
    for number, (track, stem) in enumerate(pairs, 1):
        # The files have numbers, as names of songs and systems may not suit a file.
        place = Path(SOUNDS) / str(number)
        paths = {
            name: (place / f"system{count}.wav").as_posix()
            for count, name in enumerate(systems, 1)
        }
        true = excerpts.data is not None
        reference, mixture = (
            (place / f"{name}.wav").as_posix() if true else None
            for name in (REFERENCE, "mixture")
        )
        trial = Trial(f"{track.name} {stem}", paths, reference, mixture)
        cuts.append(_Cut(trial, track, stem))
    return cuts, systems


def _check_size(folder: Path, design: Design, cuts: list[_Cut], seconds: float) -> None:
    """Raise an error for excerpts that no listener can get, or the disk cannot hold."""
    lengths = [min(seconds, cut.track.duration) for cut in cuts]
    if design.test == "mushra" and max(lengths) > LONGEST_SECONDS:
        raise InputError(
            f"seconds is {seconds:g}, and ITU-R BS.1534 allows excerpts of at most "
            f"{LONGEST_SECONDS:g} s in mushra. Choose fewer seconds, or another test."
        )
    for anchor in design.anchors or ():
        check_anchor(anchor, min(cut.track.sample_rate for cut in cuts))
    n_bytes = 0
    for cut, length in zip(cuts, lengths, strict=True):
        n_samples = math.ceil(length * cut.track.sample_rate) * cut.track.channels
        parts = (*cut.trial.conditions, cut.trial.reference, cut.trial.mixture)
        n_bytes += SAMPLE_BYTES * n_samples * sum(part is not None for part in parts)
    check_room(folder, n_bytes, f"the sounds of {counted(len(cuts), 'trial')}")


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A folder in the folder of a test, which is gone in the end.

    It has always the same name, so the next try removes what a killed one has left.
    After an error, the folder of the test is removed too, if it did not exist before.
    """
    existed, place = folder.exists(), folder / UNFINISHED
    shutil.rmtree(place, ignore_errors=True)
    try:
        place.mkdir(parents=True)
        yield place
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        if not existed:
            with suppress(OSError):  # not empty: somebody else has written there
                folder.rmdir()
        raise
    shutil.rmtree(place)


def _write(
    folder: Path, cut: _Cut, systems: Mapping[str, FileEstimates], excerpts: Excerpts
) -> bool:
    """Write the sounds of a trial; False and a warning for a stem that is silent."""
    sounds = _excerpt(cut.track, cut.stem, systems, excerpts)
    judged = sounds.get(REFERENCE, next(iter(sounds.values())))
    lufs, reason = measured_lufs(judged, cut.track.sample_rate)
    if lufs is None:
        text = f"{cut.trial.name}: left out, because its loudest {excerpts.seconds:g} s"
        warnings.warn(f"{text} are {reason}", MssEduWarning, stacklevel=3)
        return False
    files = {REFERENCE: cut.trial.reference, "mixture": cut.trial.mixture}
    files |= cut.trial.conditions
    for name, sound in sounds.items():
        path = folder / str(files[name])
        path.parent.mkdir(parents=True, exist_ok=True)
        save_audio(path, sound, cut.track.sample_rate, subtype="float32")
    return True


def _excerpt(
    track: Track, stem: str, systems: Mapping[str, FileEstimates], excerpts: Excerpts
) -> dict[str, Tensor]:
    """Name -> (channels, samples): all versions of the loudest part of a stem."""
    seconds, sounds = excerpts.seconds, {}
    start = loudest_start(track.stem(stem), track.sample_rate, seconds)
    for name, files in systems.items():
        path = files.path(track, stem)
        sounds[name], _ = load_audio(
            path, start_seconds=start, duration_seconds=seconds
        )
    if excerpts.data is not None:
        sounds[REFERENCE] = track.stem(stem, start, seconds)
        sounds["mixture"] = track.mixture(start, seconds)
    return sounds


def loudest_start(audio: Tensor, sample_rate: int, seconds: float) -> float:
    """The start in seconds of the excerpt with the most energy, in steps of 0.5 s.

    Args:
        audio: (channels, samples).
        sample_rate: Hz.
        seconds: length of the excerpt; a shorter sound starts at 0.

    Example:
        >>> loudest_start(torch.tensor([[0.0] * 30 + [1.0] * 20]), 10, 2.0)
        3.0
    """
    length, step = round(seconds * sample_rate), round(STEP_SECONDS * sample_rate)
    sums = torch.zeros(audio.shape[-1] + 1, dtype=torch.float64)
    sums[1:] = audio.double().square().sum(0).cumsum(0)
    starts = torch.arange(0, max(audio.shape[-1] - length, 0) + 1, step)
    energy = sums[(starts + length).clamp(max=audio.shape[-1])] - sums[starts]
    return int(energy.argmax()) * step / sample_rate
