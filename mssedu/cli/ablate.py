"""The command `mssedu ablate`: train the variants of a grid, score and compare them.

mssedu ablate GRID.toml DATA                    one run after the other
mssedu ablate GRID.toml DATA --jobs 4           four at a time
mssedu ablate GRID.toml DATA --no-train         only score and write the table again
mssedu ablate GRID.toml DATA --protocol P.toml  the report of a claim, too

The same command goes on after it was stopped: finished runs are kept, and the others go
on from their last state. `mssedu.training.grid` explains the file.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mssedu.audio.disk import check_folder
from mssedu.audio.words import counted
from mssedu.cli.console import bar, load_songs, say
from mssedu.cli.train import SongOptions, check_songs
from mssedu.data.options import DataOptions
from mssedu.errors import InputError, MssEduError, check_name, check_range

if TYPE_CHECKING:
    from mssedu.evaluation.protocol import Protocol
    from mssedu.reports.ablation import VariantResult
    from mssedu.training.grid import Grid, GridRun

OUT_DIR = Path("runs/ablation")
LOG = "train.log"  # in the folder of a run
MANIFEST = "manifest.json"
PROTOCOL = "protocol.json"  # in the folder of the ablation: hash, claim, date
POLL_SECONDS = 0.1

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]


def ablate(
    grid: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="GRID")],
    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")],
    dataset: Annotated[DataOptions, tyro.conf.arg(name="")],
    options: Annotated[SongOptions, tyro.conf.arg(name="")],
    out_dir: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = OUT_DIR,
    split: str = "test",
    metric: str = "usdr",
    jobs: int = 1,
    no_train: Flag = False,
    protocol: Path | None = None,
) -> int:
    """Train each variant of a grid with each seed, and compare them on the test songs.

    Args:
        grid: File with a recipe, its variants and at least three seeds.
        data: Songs with stems, or a data set with the splits train, valid and test.
        dataset: Options for reading DATA and --valid-data.
        options: How the runs read the songs.
        out_dir: Write the runs, their scores, the tables and the figure to this folder.
        split: Score the songs of this part of the data set.
        metric: Score to compare, such as usdr or csdr.
        jobs: Train this many runs at the same time, each in a process of its own.
        no_train: Train nothing; all runs must be finished.
        protocol: File with a claim and its rules. Its split and metric are used, and
            its report and the scores of all songs are written, too.
    """
    from mssedu.reports.ablation import ablation_table, read_results, write_ablation
    from mssedu.reports.tables import render
    from mssedu.training.grid import read_grid

    check_range("jobs", jobs, 1)
    check_folder(out_dir)
    found = read_grid(grid)
    rules = None
    if protocol is not None:
        rules = _rules(protocol, grid, found, out_dir)
        split, metric = rules.split, rules.metric
    flags = [str(data), *_flags(options), *_flags(dataset)]
    if not no_train:
        _check_songs(found, data, options, dataset, out_dir)
        _train(found, flags, out_dir, jobs)
    if lacking := [run for run in found.runs if not _is_finished(run, out_dir)]:
        names = ", ".join(run.folder for run in lacking)
        raise MssEduError(
            f"{len(lacking)} of {counted(len(found.runs), 'run')} have not finished: "
            f"{names}. Read {LOG} in their folders in {out_dir}, and give the command "
            "again."
        )
    _score(found, data, dataset, split, metric, out_dir)
    results = read_results(found, out_dir)
    paths = write_ablation(found, results, out_dir, metric)
    say(render(ablation_table(results, metric)))
    say(f"Table and figure: {', '.join(map(str, paths.values()))}")
    if rules is not None and protocol is not None:
        command = f"mssedu ablate {grid.name} DATA --protocol {protocol.name}"
        _report(rules, found, results, out_dir, command)
    return 0


def _rules(protocol: Path, grid: Path, found: "Grid", out_dir: Path) -> "Protocol":
    """The protocol, if it is that of the grid and of the runs that are there.

    The first start keeps its hash in the folder, before any training.
    """
    from mssedu.audio.files import write_json
    from mssedu.evaluation.protocol import check_same_protocol, read_protocol

    rules = read_protocol(protocol)
    if (protocol.parent / rules.grid).resolve() != grid.resolve():
        raise InputError(
            f"{protocol} is about the grid {rules.grid}, and the command names {grid}. "
            "Give the grid of the protocol."
        )
    for name in (rules.baseline, rules.changed):
        check_name("variant", name, found.variants, where=str(protocol))
    kept = out_dir / PROTOCOL
    if kept.exists():
        sha256 = str(json.loads(kept.read_text("utf-8")).get("sha256"))
        check_same_protocol(rules, sha256, str(kept))
    else:
        began = time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(kept, {"sha256": rules.sha256, "claim": rules.claim, "date": began})
    return rules


def _report(
    rules: "Protocol",
    grid: "Grid",
    results: "Sequence[VariantResult]",
    out_dir: Path,
    command: str,
) -> None:
    """Write the scores of all songs and the report of the claim."""
    from mssedu.evaluation.claims import judge
    from mssedu.reports.study import (
        seeds_sentence,
        store_study,
        study_sentence,
        write_study,
    )

    study = store_study(rules, grid, results, out_dir, command)
    paths = write_study(study, out_dir / "report")
    differences = study.differences().mean(axis=1).tolist()
    say(f"{study_sentence(study, judge(differences, rules))} {seeds_sentence(study)}")
    say(f"Report: {', '.join(map(str, paths.values()))}")


def _flags(options: SongOptions | DataOptions) -> list[str]:
    """Options as words of a command line; those with their default are left out."""
    words: list[str] = []
    for name, value in vars(options).items():
        if value == getattr(type(options)(), name):
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            values = value if isinstance(value, tuple) else (value,)
            words += [str(one) for one in values]
    return words


def _is_finished(run: "GridRun", out_dir: Path) -> bool:
    """Whether a run has done all its steps, with the settings of the grid."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        manifest = json.loads((out_dir / run.folder / MANIFEST).read_text("utf-8"))
        facts, recipe = run.recipe.facts, manifest["recipe"]
        same = all(recipe[name] == facts[name] for name in ("sha256", "settings"))
        return same and manifest["finished"] is True
    return False


def _check_songs(
    grid: "Grid", data: Path, options: SongOptions, dataset: DataOptions, out_dir: Path
) -> None:
    """Raise DatasetError if the finished runs have learned from other songs."""
    advice = "Give their data set, or choose another folder with --out-dir."
    for run in grid.runs:
        if _is_finished(run, out_dir):  # it stands for all, as each start asks here
            check_songs(out_dir / run.folder, data, options, dataset, advice=advice)
            return


def _train(grid: "Grid", words: Sequence[str], out_dir: Path, jobs: int) -> None:
    """Run `mssedu train` for each run that is not finished, `jobs` at a time."""
    todo = deque(run for run in grid.runs if not _is_finished(run, out_dir))
    n_all = len(grid.runs)
    say(f"{counted(n_all, 'run')}, {n_all - len(todo)} finished")
    active: dict[str, subprocess.Popen[bytes]] = {}
    try:
        with bar("runs") as update:
            while todo or active:
                while todo and len(active) < jobs:
                    run = todo.popleft()
                    active[run.folder] = _start(run, words, out_dir, jobs)
                for name, process in [*active.items()]:
                    if process.poll() is not None:
                        del active[name]
                        if process.returncode:
                            say(f"{name} has failed: see {out_dir / name / LOG}")
                update(n_all - len(todo) - len(active), n_all, ", ".join(active))
                time.sleep(POLL_SECONDS)
    finally:  # also after Ctrl-C: each run then saves its state and ends
        for process in active.values():
            process.terminate()
        for process in active.values():
            process.wait()


def _start(
    run: "GridRun", words: Sequence[str], out_dir: Path, jobs: int
) -> subprocess.Popen[bytes]:
    """Start or go on with one run; what it prints is added to its log."""
    folder = out_dir / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    data, *flags = words
    command = [sys.executable, "-m", "mssedu", "train", str(run.recipe.path), data]
    command += [*run.recipe.settings, *flags, "--run-dir", str(folder)]
    command += ["--resume", "auto"]
    with (folder / LOG).open("ab") as log, _without_ctrl_c():
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=_environment(jobs)
        )


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """While open, Ctrl-C is ignored, and so it is in a process that is started now.

    A terminal sends Ctrl-C to all its processes. With the SIGTERM of `_train`, it would
    be the second signal of a run, which ends it before its state is saved.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _environment(jobs: int) -> Mapping[str, str]:
    """The variables of a run: several runs share the processor cores."""
    if jobs == 1:
        return os.environ
    threads = max(1, (os.cpu_count() or 1) // jobs)
    return {"OMP_NUM_THREADS": str(threads), **os.environ}


def _score(
    grid: "Grid",
    data: Path,
    dataset: DataOptions,
    split: str,
    metric: str,
    out_dir: Path,
) -> None:
    """Score the best weights of each run; songs that are scored already are kept."""
    from mssedu.evaluation.run import evaluate
    from mssedu.models.contract import grouping_of
    from mssedu.reports.ablation import TEST
    from mssedu.weights.checkpoint import load_checkpoint

    tracks = None
    with bar("scoring") as update:
        for number, run in enumerate(grid.runs):
            update(number, len(grid.runs), run.folder)
            folder = out_dir / run.folder
            model = load_checkpoint(folder)
            if tracks is None:
                tracks = load_songs(data, dataset, split, stems=grouping_of(model))
            scores = evaluate(
                model,
                tracks,
                metrics=(metric,),
                rows=("model",),
                device=run.recipe.config.device,
                folder=folder / TEST,
            )
            scores.save(folder / TEST)
