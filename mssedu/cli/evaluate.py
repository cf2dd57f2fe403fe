"""The commands `evaluate`, `compare` and `published`: scores and their intervals.

mssedu evaluate DATA -m htdemucs --split test --save runs/scores    a model
mssedu evaluate DATA --estimates separated --save runs/theirs       stems of any program
mssedu compare runs/scores runs/theirs                              paired, p-values
mssedu published                                                    scores of papers
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mssedu.cli.console import Output, bar, err, load_shown, out
from mssedu.cli.separate import DEMO_MODEL, Model, source
from mssedu.data import OnLength
from mssedu.errors import InputError, check_name, check_range
from mssedu.reports.tables import Format, note, render
from mssedu.separation.config import SeparateConfig

if TYPE_CHECKING:
    from mssedu.evaluation.result import Evaluation

TEMPLATE = "{track}/{stem}.wav"
FIGURES = (".png", ".pdf", ".svg")
WIDE = 150  # characters of a line of the wide tables
SIGNED = {"difference": "+.2f", "r": "+.2f", "d_z": "+.2f"}  # columns of `compare`


@dataclass(frozen=True)
class SongOptions:
    """Options for choosing the songs."""

    # use only the songs of this part of the data set: train, valid or test (None: all)
    split: str | None = None
    # use only this number of songs, the first by name (None: all)
    tracks: int | None = None
    # if the files of a song differ in length: stop with an "error", "pad" the shorter
    # ones with zeros, or "cut" the longer ones at their end
    on_length: OnLength = "error"


@dataclass(frozen=True)
class ScoreOptions:
    """Options for the computation of the scores."""

    # scores to compute, such as usdr (dB over the whole song), csdr (dB, median of the
    # frames of 1 s), nsdr, si_sdr, sir, sar, isr, bleedless and fullness
    metrics: tuple[str, ...] = ("usdr", "csdr")
    # estimates to score: silence, mixture, model, and the oracles ibm, irm and mwf
    rows: tuple[str, ...] = ("silence", "mixture", "model", "irm")
    # measure how many samples the estimates are late, report it, and remove the delay
    align: bool = False
    # also write the scores of every second for museval, into the folder of --save
    museval: bool = False
    # number of extra processes that compute scores (0: none); they save time with BSS
    # Eval and the oracles
    workers: int = 0


@dataclass(frozen=True)
class ResultOptions:
    """Options for the results."""

    # folder for the scores; songs whose scores are there already are not computed again
    save: Path | None = None
    # folder for the estimated stems, to listen to them or for mssedu listen create
    save_stems: Path | None = None
    # add the published scores of the same definition below yours
    published: bool = False
    # format of the tables; csv has one number per line
    format: Format = "table"
    # file for box plots of all songs, such as scores.png, .pdf or .svg
    figure: Path | None = None


def evaluate(
    data: Annotated[Path, tyro.conf.Positional],
    config: Annotated[SeparateConfig, tyro.conf.arg(name="")],
    scores: Annotated[ScoreOptions, tyro.conf.arg(name="")],
    results: Annotated[ResultOptions, tyro.conf.arg(name="")],
    songs: Annotated[SongOptions, tyro.conf.arg(name="")],
    model: Model = DEMO_MODEL,
    weights: Path | None = None,
    estimates: Path | None = None,
    template: str = TEMPLATE,
    device: Annotated[str, tyro.conf.arg(aliases=["-d"])] = "auto",
) -> int:
    """Score a model, or stems on disk, beside silence, mixture and oracles.

    Args:
        data: folder of a data set in any layout.
        config: how to separate; with --estimates only --stems counts.
        scores: what to compute.
        results: what to show and to store.
        songs: which songs to score.
        model: published name, checkpoint file or run folder.
        weights: local file of weights, in place of the download of a published name.
        estimates: folder of stems of any program, to score in place of a model.
        template: path of each stem below the folder of --estimates.
        device: device that computes: auto, cpu, cuda or mps.
    """
    from mssedu.data.layouts import load_dataset
    from mssedu.evaluation.estimates import FileEstimates, output_grouping
    from mssedu.evaluation.run import evaluate as run

    _check_flags(results, scores, songs.tracks)
    network, stems = None, config.stems
    if estimates is not None:
        _check_no_model(model, weights, estimates)
    elif "model" in scores.rows:
        network = load_shown(*source(model, weights), device)
        stems = output_grouping(network, config)
    tracks = load_dataset(
        data, songs.split, stems=stems or None, on_length=songs.on_length
    )
    files = None
    if estimates is not None:
        files = FileEstimates(estimates, tracks[0].stems, template, stems)
    with bar("evaluating") as update:
        found = run(
            network,
            tracks[: songs.tracks],
            metrics=scores.metrics,
            rows=scores.rows,
            estimates=files,
            separation=config,
            device=device,
            folder=results.save,
            stems_folder=results.save_stems,
            align=scores.align,
            museval=scores.museval,
            workers=scores.workers,
            log=_say,
            progress=update,
        )
    return _show(found, results)


def compare(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    metric: str | None = None,
    common: bool = False,
    format: Format = "table",
) -> int:
    """Compare evaluations, song by song, with the first of them.

    Args:
        runs: folders of mssedu evaluate --save; the first one is the baseline.
        metric: score to compare (default: the first score of the first run).
        common: if the runs differ in songs or stems, compare those that all runs have.
        format: format of the table.
    """
    from mssedu.evaluation.comparison import compare as run
    from mssedu.evaluation.comparison import comparison_note, comparison_table
    from mssedu.evaluation.result import load_evaluation

    if len(set(runs)) < len(runs):
        names = ", ".join(str(path) for path in runs)
        raise InputError(f"the runs {names} are not different. Name each run once.")
    short = len({path.name for path in runs}) == len(runs)
    loaded = {p.name if short else str(p): load_evaluation(p) for p in runs}
    found = run(loaded, metric, common=common)
    title = metric or next(iter(loaded.values())).metrics[0]
    _print(render(comparison_table(found, title), format, formats=SIGNED), WIDE)
    _print(note(comparison_note(loaded, found), format))
    return 0


def published(definition: str | None = None, format: Format = "table") -> int:
    """Print what the field has published, with definition, data and source.

    Args:
        definition: show only the scores of this definition: csdr, usdr or nsdr.
        format: format of the table; all but table also have the sources.
    """
    from mssedu.evaluation.published import (
        NOTE,
        published_scores,
        published_table,
    )

    if definition is not None:
        known = {row.definition for row in published_scores()}
        check_name("definition", definition, known)
    on_terminal = format == "table"
    table = published_table(definition, sources=not on_terminal)
    _print(render(table, format), WIDE)
    _print(note(NOTE, format))
    if on_terminal:
        _print(note("Sources: mssedu published --format markdown, or csv."))
    return 0


def _check_no_model(model: str, weights: Path | None, estimates: Path) -> None:
    if weights is not None or model != DEMO_MODEL:
        raise InputError(
            f"--estimates {estimates} is scored in place of a model, and a model is "
            "named too. Leave one of them out."
        )


def _check_flags(
    results: ResultOptions, scores: ScoreOptions, tracks: int | None
) -> None:
    """Find mistakes now that would otherwise be found after hours."""
    if tracks is not None:
        check_range("tracks", tracks, 1)
    if scores.museval and results.save is None:
        raise InputError("--museval needs a folder for its files. Add --save FOLDER.")
    if results.save is not None and results.save.is_file():
        raise InputError(
            f"--save {results.save} is a file, and the scores need a folder, which "
            "holds a file per song. Choose another name."
        )
    if results.figure is not None and results.figure.suffix not in FIGURES:
        raise InputError(
            f"--figure {results.figure.name} has no ending of a picture. Choose one of "
            f"{', '.join(FIGURES)}."
        )


def _show(found: "Evaluation", results: ResultOptions) -> int:
    """Write the files, print the tables, and return the exit code 0."""
    from mssedu.evaluation.published import NOTE, published_beside

    # Files first: a reader of the tables through a pipe may stop in the middle.
    if results.save is not None:
        _say(f"Scores of every track: {found.save(results.save)}")
    if results.figure is not None:
        _draw(found, results.figure)
        _say(f"Figure: {results.figure}")
    if results.format == "csv":
        _print(render(found.summaries(), "csv", decimals=4))
    for metric in found.metrics if results.format != "csv" else ():
        _print(render(found.table(metric), results.format))
        _print(note(found.note(metric), results.format))
        if results.format != "latex":
            _print("")
        if results.published:
            beside = published_beside(found, metric)
            _print("" if beside.empty else render(beside, results.format))
            text = f"Yours are other songs, unless you scored all of that set. {NOTE}"
            nothing = f"Nothing is published by {metric}."
            _print(note(nothing if beside.empty else text, results.format) + "\n")
    return 0


def _draw(found: "Evaluation", path: Path) -> None:
    from mssedu.figures.scores import boxes_figure

    panels = {
        found.title(metric): {
            row: {s: [*found.by_track(metric, row, s).values()] for s in found.stems}
            for row in found.rows
        }
        for metric in found.metrics
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    boxes_figure(panels).savefig(path, dpi=150)


def _say(line: str) -> None:
    """Print to stderr, so that stdout holds only tables, which can be piped."""
    err.print(line, markup=False, highlight=False)


def _print(content: Any, width: int = 0) -> None:
    """Print a text or table as it is, on lines of `width` characters at least.

    A table wider than the terminal is easier to read than one of broken words.
    """
    console = Output(width=width, soft_wrap=True) if width > out.width else out
    console.print(content, markup=False, highlight=False)
