"""Learning curves of training runs, read from their folders.

    read_curves       what history.jsonl and config.json of a run say, as RunCurves
    learning_figure   loss, learning rate and validation scores of one or several runs

Dotted lines are the scores without a model: the mixture as the estimate of every stem,
and silence. A ring is the best mean score of a run: these weights were saved as
best.safetensors. Notebook: 05.
"""

import json
import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mssedu.audio.files import misfit
from mssedu.errors import CheckpointError, InputError, MssEduWarning
from mssedu.figures.style import (
    COLORS,
    DescribedFigure,
    check_not_empty,
    describe,
    grid,
    looks,
)
from mssedu.figures.words import course, listed, measured, report
from mssedu.training.runs import HISTORY, RUN_FILE, read_run

MEAN, BEST = "mean", "best mean"
SCORE = "usdr (dB)"
FEW = 40  # points, up to which each one is marked
_NUMBER = (float, None)
# An entry of the history, as `misfit` takes it; earlier versions had no learning rate
_ENTRY = {"step": int, "loss": _NUMBER, "usdr": _NUMBER, "stems": {str: _NUMBER}}
_BASELINES = {str: _NUMBER}


@dataclass(frozen=True)
class RunCurves:
    """The numbers of a run at each of its validations; NaN where there is none."""

    steps: list[int]
    loss: list[float]  # mean over the steps since the validation before
    learning_rate: list[float]
    usdr: dict[str, list[float]]  # "mean", and each stem -> dB; empty: no validation
    baselines: dict[str, float]  # mean usdr of "mixture" and "silence", dB
    loss_name: str
    valid_data: str | None  # hash of the songs of the validation, if known
    settings: str = ""  # all but the seed, as JSON: runs of one recipe have the same


def read_curves(run_dir: str | os.PathLike[str]) -> RunCurves:
    """Read the curves of a run, also of one that goes on at the moment.

    Args:
        run_dir: folder that `mssedu train` or `mssedu.fit` writes.

    Raises:
        InputError: no folder of a run, or a run before its first validation.
        CheckpointError: a damaged file.
    """
    folder = Path(run_dir).absolute()
    if not (folder / RUN_FILE).is_file():
        what = f"has no {RUN_FILE}" if folder.is_dir() else "is not there"
        raise InputError(
            f"{folder} is not the folder of a run: it {what}. Give a folder that "
            "mssedu train has written, such as runs/train."
        )
    document = read_run(folder)
    baselines = document.get("usdr_without_model", {})
    if wrong := misfit(baselines, _BASELINES, "usdr_without_model"):
        raise CheckpointError(f"{folder / RUN_FILE}: {wrong}. Restore it from a copy.")
    entries = _entries(folder / HISTORY)
    if not entries:
        raise InputError(
            f"{folder} has no curves yet: a run writes them at its first validation. "
            "Wait for it, or train with a lower --valid-every."
        )
    names = dict.fromkeys(name for entry in entries for name in entry["stems"])
    # The first versions had one loss, without a list.
    loss = document["train_config"].get("loss", "unknown")
    usdr = {MEAN: [_number(entry["usdr"]) for entry in entries]} if names else {}
    for name in names:
        usdr[name] = [_number(entry["stems"].get(name)) for entry in entries]
    return RunCurves(
        steps=[entry["step"] for entry in entries],
        loss=[_number(entry["loss"]) for entry in entries],
        learning_rate=[_number(entry.get("learning_rate")) for entry in entries],
        usdr=usdr,
        baselines={name: _number(value) for name, value in baselines.items()},
        loss_name=" + ".join(map(str, loss if isinstance(loss, list) else [loss])),
        valid_data=(document.get("phases") or [{}])[-1].get("valid_data"),
        settings=json.dumps(
            [document["train_config"] | {"seed": None}, document.get("model_config")],
            sort_keys=True,
        ),
    )


def learning_figure(
    run_dirs: Sequence[str | os.PathLike[str]], *, seeds: bool = False
) -> DescribedFigure:
    """Learning curves of runs: loss, validation scores, learning rate over the steps.

    One run has all its stems in one panel. Several runs have a panel for each stem, and
    a line for each run, which is named after its folder.

    Args:
        run_dirs: folders that `mssedu train` or `mssedu.fit` writes.
        seeds: whether runs that differ in their seed alone are one line, their mean, in
            a band from the lowest to the highest of them.

    Raises:
        InputError: no folder, one given twice, or what `read_curves` raises.
        CheckpointError: a damaged file.

    Example:
        >>> learning_figure([])
        Traceback (most recent call last):
        mssedu.errors.InputError: run_dirs is empty: a figure needs at least one ...
    """
    check_not_empty("run_dirs", run_dirs, "folder of a run")
    labels = _labels([Path(run_dir).resolve() for run_dir in run_dirs])
    runs = {
        label: read_curves(run_dir)
        for label, run_dir in zip(labels, run_dirs, strict=True)
    }
    if len({run.valid_data for run in runs.values()}) > 1:
        warnings.warn(
            "the runs have different songs for validation, so their scores cannot be "
            "compared",
            MssEduWarning,
            stacklevel=2,
        )
    if len(runs) == 1:
        return _described(_one_run(labels[0], runs[labels[0]]), runs)
    bands = _by_seed(runs) if seeds else {}
    means = {label: mean for label, (_, mean, _) in bands.items()}
    return _described(_many_runs(means or runs, bands), means or runs)


def _described(
    figure: DescribedFigure, runs: Mapping[str, RunCurves]
) -> DescribedFigure:
    """The figure with what the curves of each run say."""
    parts = []
    for label, run in runs.items():
        parts.append(f"the loss of {label} {course(run.steps, run.loss, 'steps')}")
        if _has_numbers(scores := run.usdr.get(MEAN, [])):
            step, best = _best(run)
            among = [
                f"{name} {measured(score, 'dB')}"
                for name, score in run.baselines.items()
                if math.isfinite(score)
            ]
            beside = f" ({', '.join(among)})" if among else ""
            parts.append(
                f"its mean usdr {course(run.steps, scores, 'steps', 'dB')}, the best "
                f"is {measured(best, 'dB')} at {step} steps{beside}"
            )
    drawn = ["training loss"]
    drawn += ["validation usdr in dB"] * any(run.usdr for run in runs.values())
    has_rate = any(_has_numbers(run.learning_rate) for run in runs.values())
    drawn += ["learning rate"] * has_rate
    what = listed(drawn)
    caption = f"{what[0].upper()}{what[1:]} by training step of {listed(runs)}."
    return describe(figure, caption, report("Learning curves", parts))


def _best(run: RunCurves) -> tuple[int, float]:
    """Step and score of the best mean, the first one of equals."""
    scores = run.usdr[MEAN]
    best = max(score for score in scores if math.isfinite(score))
    return run.steps[scores.index(best)], best


Band = tuple[RunCurves, RunCurves, RunCurves]  # lowest, mean and highest values


def _by_seed(runs: Mapping[str, RunCurves]) -> dict[str, Band]:
    """Runs of the same settings in one band, up to the end of the shortest."""
    groups: dict[str, list[str]] = {}
    for label, run in runs.items():
        groups.setdefault(run.settings, []).append(label)
    bands = {}
    for labels in groups.values():
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        members = [runs[label] for label in labels]
        low, mean, high = (_combined(members, how) for how in (min, fmean, max))
        bands[labels[0] + more] = (low, mean, high)
    return bands


def _combined(
    runs: Sequence[RunCurves], how: Callable[[Sequence[float]], float]
) -> RunCurves:
    """Curves whose values are the lowest, the mean or the highest of several runs."""

    def values(of: Callable[[RunCurves], list[float]]) -> list[float]:
        return [how(column) for column in zip(*map(of, runs), strict=False)]

    return replace(
        runs[0],
        steps=min((run.steps for run in runs), key=len),
        loss=values(lambda run: run.loss),
        learning_rate=values(lambda run: run.learning_rate),
        usdr={name: values(_scores_of(name)) for name in runs[0].usdr},
    )


# ---- panels -------------------------------------------------------------------------


def _one_run(label: str, run: RunCurves) -> DescribedFigure:
    first = f"Training loss of {label}"
    panels = [first] + ["Validation"] * bool(run.usdr)
    panels += ["Learning rate"] * _has_numbers(run.learning_rate)
    figure, cells = grid(panels, height=2.0, margin=0.5)
    by_title = dict(zip(panels, cells, strict=True))
    black = COLORS["mixture"]
    _line(by_title[first], run.steps, run.loss, black)
    by_title[first].set_ylabel(run.loss_name)
    if axes := by_title.get("Validation"):
        stems = [name for name in run.usdr if name != MEAN]
        for stem, (color, _, style) in looks(stems).items():
            _line(axes, run.steps, run.usdr[stem], color, stem, style)
        _line(axes, run.steps, run.usdr[MEAN], black, MEAN, width=2.2)
        _ring(axes, run, black)
        _dotted(axes, run.baselines)
        axes.set_ylabel(SCORE)
    if axes := by_title.get("Learning rate"):
        _line(axes, run.steps, run.learning_rate, black)
    _finish(figure, cells, cells[-1:], run.steps[-1])
    return figure


def _many_runs(
    runs: Mapping[str, RunCurves], bands: Mapping[str, Band]
) -> DescribedFigure:
    values: dict[str, Callable[[RunCurves], list[float]]]
    values = {"Training loss": lambda run: run.loss}
    values |= {"Learning rate": lambda run: run.learning_rate}
    for name in dict.fromkeys(name for run in runs.values() for name in run.usdr):
        values[f"Validation, {name}"] = _scores_of(name)
    shown = {
        title: value
        for title, value in values.items()
        if any(_has_numbers(value(run)) for run in runs.values())
    }
    figure, cells = grid(shown, 2, height=2.0, margin=0.6)
    colors = looks(runs)
    for axes, (title, value) in zip(cells, shown.items(), strict=True):
        for label, run in runs.items():
            color, _, style = colors[label]
            _line(axes, run.steps, value(run), color, label, style)
            if label in bands and _has_numbers(value(run)):
                low, _, high = (value(curve) for curve in bands[label])
                axes.fill_between(
                    run.steps, low, high, color=color, alpha=0.2, linewidth=0
                )
            if title == f"Validation, {MEAN}":
                _ring(axes, run, color)
        if title.startswith("Validation"):
            axes.set_ylabel(SCORE)
    by_title = dict(zip(shown, cells, strict=True))
    names = {run.loss_name for run in runs.values()}
    if "Training loss" in by_title:
        label = names.pop() if len(names) == 1 else "different losses"
        by_title["Training loss"].set_ylabel(label)
    if scored := by_title.get(f"Validation, {MEAN}"):
        _baselines_of(scored, runs, {label: look[0] for label, look in colors.items()})
    last = max(run.steps[-1] for run in runs.values())
    _finish(figure, cells, cells[-2:], last)
    return figure


def _scores_of(name: str) -> Callable[[RunCurves], list[float]]:
    return lambda run: run.usdr.get(name, [])


def _line(
    axes: Axes,
    steps: Sequence[int],
    values: Sequence[float],
    color: str,
    label: str | None = None,
    style: str = "-",
    width: float = 1.5,
) -> None:
    """A line over the steps; a run without these values has none."""
    if _has_numbers(values):
        marker = "o" if len(steps) <= FEW else None
        axes.plot(
            steps,
            values,
            style,
            color=color,
            label=label,
            linewidth=width,
            marker=marker,
            markersize=3,
        )


def _ring(axes: Axes, run: RunCurves, color: str) -> None:
    """Mark the best mean score."""
    scores = run.usdr.get(MEAN, [])
    if _has_numbers(scores):
        step, best = _best(run)
        axes.plot(
            step,
            best,
            "o",
            color=color,
            markersize=10,
            fillstyle="none",
            linestyle="none",
            label=BEST,
        )
        axes.margins(y=0.15)  # the ring is not cut off


def _dotted(
    axes: Axes, baselines: Mapping[str, float], color: str | None = None
) -> None:
    """Lines of the scores without a model."""
    colors = {"silence": COLORS["reference"], "mixture": COLORS["mixture"]}
    for name, score in baselines.items():
        if math.isfinite(score):
            own = color or colors.get(name, COLORS["reference"])
            label = name if color is None else None
            axes.axhline(score, linestyle=":", color=own, linewidth=1.2, label=label)


def _baselines_of(
    axes: Axes, runs: Mapping[str, RunCurves], colors: Mapping[str, str]
) -> None:
    """Baselines once if all runs have the same, else in the color of each run."""
    kinds = [run.baselines for run in runs.values() if run.baselines]
    if all(baselines == kinds[0] for baselines in kinds):
        _dotted(axes, kinds[0] if kinds else {})
    else:
        for label, run in runs.items():
            _dotted(axes, run.baselines, colors[label])


def _finish(
    figure: Figure, cells: Sequence[Axes], bottom: Iterable[Axes], last: int
) -> None:
    """Limits, grid lines and labels of all panels, and one legend."""
    entries: dict[str, Any] = {}
    for axes in cells:
        axes.set_xlim(0, 1.02 * last)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.grid(alpha=0.3)
        handles, labels = axes.get_legend_handles_labels()
        entries = dict(zip(labels, handles, strict=True)) | entries
    for axes in bottom:
        axes.set_xlabel("Step")
    if entries:
        figure.legend(
            [*entries.values()],
            [*entries],
            loc="outside upper center",
            ncols=min(len(entries), 4),
            frameon=False,
            fontsize="small",
        )


# ---- reading ------------------------------------------------------------------------


def _entries(path: Path) -> list[dict[str, Any]]:
    """The validations of a run, in order."""
    entries = []
    text = path.read_text("utf-8") if path.is_file() else ""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            entry = json.loads(line)
            wrong = misfit(entry, _ENTRY)
            wrong = wrong or misfit(entry.get("learning_rate"), _NUMBER)
        except (ValueError, RecursionError) as error:
            wrong = str(error)
        if wrong:
            raise CheckpointError(
                f"{path}: line {number} is damaged: {wrong}. Restore it from a copy."
            )
        entries.append(entry)
    return entries


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _has_numbers(values: Sequence[float]) -> bool:
    return any(math.isfinite(value) for value in values)


def _labels(folders: Sequence[Path]) -> list[str]:
    """The last names of the folders, with as many parents as tell them apart."""
    for folder in folders:
        if folders.count(folder) > 1:
            raise InputError(f"{folder} is given twice. Give each run once.")
    n_parts = 1
    while True:
        labels = ["/".join(folder.parts[-n_parts:]) for folder in folders]
        # A legend leaves out what begins with "_", and "$" begins a formula in it.
        is_shown = not any(label.startswith("_") for label in labels)
        if is_shown and len({*labels}) == len(labels):
            return [label.replace("$", r"\$") for label in labels]
        n_parts += 1
