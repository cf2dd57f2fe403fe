"""Make a listening test, in a folder that can be moved, from folders of stems.

    RUN_A/SONG/vocals.wav ─┐
    RUN_B/SONG/vocals.wav ─┼─ loudest seconds of each song ─▶ FOLDER/test.toml
    DATA: true stems ──────┘                                  FOLDER/sounds/1/*.wav …

The excerpts are copied without any change: levels, anchors and order are settings of
test.toml, which may be changed until the first listener begins. Notebook: 13.
"""

import itertools
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from mssedu.audio.tensors import load_audio, save_audio
from mssedu.data.layouts import load_dataset
from mssedu.data.track import Track
from mssedu.errors import InputError, MssEduWarning
from mssedu.evaluation.estimates import FileEstimates
from mssedu.listening.test.design import (
    REFERENCE,
    Design,
    Excerpts,
    Trial,
    check_systems,
    save_design,
)
from mssedu.listening.test.stimuli import load_stimuli
from mssedu.listening.widgets.loudness import measured_lufs
from mssedu.models.stems import stem_names

FILE, RESULTS, SOUNDS = "test.toml", "results.sqlite", "sounds"  # in a test's folder
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

    A stem that is silent in its song is left out, with a warning. After an error, no
    sounds remain in the folder.

    Args:
        folder: of the test; it must not contain a test or sounds yet.
        runs: name of a system -> folder of its stems.
        excerpts: which songs and stems to use.
        test: "mushra", "acr", "abx" or "2afc".
        title: above each page; made from the names of the stems if empty.
        reference: as in `Design`; None: True if `excerpts.data` has true stems.
        anchors: as in `Design`, like all arguments below.

    Raises:
        InputError: the folder contains a test or sounds, or as `Design`.
        DatasetError, AudioFileError: songs or stems are missing.
    """
    folder, excerpts = Path(folder), excerpts or Excerpts()
    for path in (folder / FILE, folder / SOUNDS):
        if path.exists():
            raise InputError(f"{path.absolute()} exists. Choose another folder.")
    if not runs:
        raise InputError("runs is empty. Name folders of separated stems.")
    check_systems(runs, "Give these runs other names.")
    # Listeners read the title, so it must not contain the name of a system.
    title = title or f"Listening test: {' and '.join(stem_names(excerpts.stems))}"
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder / SOUNDS, ignore_errors=True)
        design = Design(
            title=title,
            test=test,
            trials=tuple(_trials(folder, runs, excerpts)),
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
        for trial in design.trials:
            load_stimuli(design, trial.name)  # raises now what listeners would meet
        save_design(folder / FILE, design)
        undo.pop_all()
    return design


def _trials(
    folder: Path, runs: Mapping[str, Path], excerpts: Excerpts
) -> Iterator[Trial]:
    """Check that all files exist, then write the sounds of every song and stem."""
    # A run has the layout of a data set, so the same function lists its songs.
    source = excerpts.data or next(iter(runs.values()))
    tracks = load_dataset(source, excerpts.split, stems=excerpts.stems)
    tracks, stems = tracks[: excerpts.tracks], tracks[0].stems
    systems = {k: FileEstimates(r, stems, excerpts.template) for k, r in runs.items()}
    for track in tracks:
        for files in systems.values():
            files.check(track, align=False)
    for number, (track, stem) in enumerate(itertools.product(tracks, stems), 1):
        name, sounds = f"{track.name} {stem}", _excerpt(track, stem, systems, excerpts)
        judged = sounds.get(REFERENCE, next(iter(sounds.values())))
        lufs, reason = measured_lufs(judged, track.sample_rate)
        if lufs is None:
            text = f"{name}: left out, because its loudest {excerpts.seconds:g} s are "
            warnings.warn(text + reason, MssEduWarning, stacklevel=2)
            continue
        # The files have numbers, as names of songs and systems may not suit a file.
        place, paths = Path(SOUNDS) / str(number), {}
        (folder / place).mkdir(parents=True, exist_ok=True)
        for count, (label, sound) in enumerate(sounds.items(), 1):
            own = label if label in (REFERENCE, "mixture") else f"system{count}"
            paths[label] = (place / f"{own}.wav").as_posix()
            path = folder / paths[label]
            save_audio(path, sound, track.sample_rate, subtype="float32")
        reference, mixture = paths.pop(REFERENCE, None), paths.pop("mixture", None)
        yield Trial(name, paths, reference, mixture)


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
