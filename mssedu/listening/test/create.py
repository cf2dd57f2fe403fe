"""From folders of separated stems to a listening test that can be carried away.

    RUN_A/SONG/vocals.wav ─┐
    RUN_B/SONG/vocals.wav ─┼─ loudest seconds of each song ─▶ FOLDER/test.toml
    DATA: true stems ──────┘                                  FOLDER/sounds/1/*.wav …

The excerpts are copied as they are: levels, anchors and order are settings of
test.toml, which may be changed until the first listener has come. Notebook: 13.
"""

import itertools
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mssedu.audio.tensors import load_audio, save_audio
from mssedu.data.layouts import load_dataset
from mssedu.data.track import Track
from mssedu.errors import InputError, MssEduWarning, message
from mssedu.evaluation.estimates import FileEstimates
from mssedu.listening.test.design import (
    REFERENCE,
    Design,
    Trial,
    check_systems,
    save_design,
)
from mssedu.listening.test.excerpts import Excerpts
from mssedu.listening.test.stimuli import load_stimuli
from mssedu.listening.widgets.loudness import measured_lufs
from mssedu.models.stems import stem_names

FILE, RESULTS, SOUNDS = "test.toml", "results.sqlite", "sounds"  # in a test's folder
STEP_SECONDS = 0.5  # between the places where an excerpt may begin


def create_test(
    folder: str | Path,
    runs: Mapping[str, Path],
    excerpts: Excerpts | None = None,
    *,
    test: str = "mushra",
    title: str = "",
    **settings: Any,
) -> Design:
    """Cut the excerpts and write test.toml; a trial for each song and stem.

    A stem that is silent in its song is left out, with a warning. Where no test can be
    made, no sounds are left behind.

    Args:
        folder: of the test, without a test or sounds so far.
        runs: name of a system -> folder of its stems; no name that the test needs
            itself, such as "reference", "mixture" or that of an anchor.
        excerpts: of which songs and stems.
        test, title: as in `Design`.
        **settings: other fields of `Design`.

    Raises:
        InputError: a test or sounds are there, no runs, a name of a system that the
            test needs itself, or what makes no test.
        DatasetError, AudioFileError: songs or stems that are missing.
    """
    folder, excerpts = Path(folder), excerpts or Excerpts()
    _check_folder(folder)
    if not runs:
        remedy = "Name folders that mssedu separate has written."
        raise InputError(message("listen create", "runs", "none", remedy))
    check_systems("listen create", runs, "Give these runs other names.")
    settings = {REFERENCE: excerpts.data is not None, **settings}
    # Listeners read it, so it names no system.
    title = title or f"Listening test: {' and '.join(stem_names(excerpts.stems))}"
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder / SOUNDS, ignore_errors=True)
        trials = tuple(_trials(folder, runs, excerpts))
        design = Design(title, test, trials, folder=folder, **settings)
        for trial in design.trials:
            load_stimuli(design, trial.name)  # what is wrong is better found now
        save_design(folder / FILE, design)
        undo.pop_all()
    return design


def _check_folder(folder: Path) -> None:
    """Raise InputError for files that a new test would overwrite."""
    if (folder / FILE).exists():
        where, remedy = str((folder / FILE).absolute()), "Choose another folder."
        raise InputError(message(where, "no test there yet", "one", remedy))
    if (folder / SOUNDS).exists():
        remedy = f"Choose another folder with -o, or remove {SOUNDS} from it first."
        wanted, got = f"a folder without {SOUNDS}", str(folder.absolute())
        raise InputError(message("listen create", wanted, got, remedy))


def _trials(
    folder: Path, runs: Mapping[str, Path], excerpts: Excerpts
) -> Iterator[Trial]:
    """Write the sounds of every song and stem, once all files are known to be there."""
    # A run has the layout of a data set, so its songs are found in the same way.
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
        if measured_lufs(judged, track.sample_rate)[0] is None:
            text = f"{name}: left out, there is nothing to hear in {excerpts.seconds} s"
            warnings.warn(text, MssEduWarning, stacklevel=2)
            continue
        yield _written(folder, number, name, sounds, track)


def _excerpt(
    track: Track,
    stem: str,
    systems: Mapping[str, FileEstimates],
    excerpts: Excerpts,
) -> dict[str, Tensor]:
    """Name -> (channels, samples): all versions of the loudest part of a stem."""
    seconds = excerpts.seconds
    start = loudest_start(track.stem(stem), track.sample_rate, seconds)
    sounds = {}
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
    """Where the excerpt with the most energy begins, in steps of half a second.

    Args:
        audio: (channels, samples).
        sample_rate: Hz.
        seconds: length of the excerpt; a shorter sound is taken whole.

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


def _written(
    folder: Path, number: int, name: str, sounds: Mapping[str, Tensor], track: Track
) -> Trial:
    """Write the sounds of a trial; names of songs may hold what files must not."""
    place = Path(SOUNDS) / str(number)
    (folder / place).mkdir(parents=True, exist_ok=True)
    files = {}
    for count, (label, sound) in enumerate(sounds.items(), 1):
        own = label if label in (REFERENCE, "mixture") else f"system{count}"
        files[label] = (place / f"{own}.wav").as_posix()
        path = folder / files[label]
        save_audio(path, sound, track.sample_rate, subtype="float32")
    reference, mixture = files.pop(REFERENCE, None), files.pop("mixture", None)
    return replace(Trial(name, files), reference=reference, mixture=mixture)
