"""The commands `evaluate`, `compare` and `published`: scores, and how sure they are.

mssedu evaluate DATA -m htdemucs --split test --save runs/scores    go on if interrupted
mssedu evaluate DATA --estimates separated --save runs/theirs       of any program
mssedu compare runs/scores runs/theirs                              paired, with p
mssedu published                                                    what others scored
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mssedu.cli.console import Output, bar, err, load_shown, out
from mssedu.cli.separate import DEMO_MODEL, Model, source
from mssedu.data import OnLength
from mssedu.errors import InputError, check_name, check_range, message
from mssedu.reports.tables import Format, note, render
from mssedu.separation.config import SeparateConfig

if TYPE_CHECKING:
    from mssedu.evaluation.result import Evaluation

TEMPLATE = "{track}/{stem}.wav"
FIGURES = (".png", ".pdf", ".svg")
WIDE = 150  # letters of a table that needs them


@dataclass(frozen=True)
class Chosen:
    """Which songs are scored."""

    split: str | None = None  # train, valid or test; all songs if not given
    tracks: int | None = None  # only so many songs, the first by name
    # files of one song that differ in length are an error, get zeros at the end (pad),
    # or lose their end (cut)
    on_length: OnLength = "error"


@dataclass(frozen=True)
class Scored:
    """What is computed."""

    metrics: tuple[str, ...] = (
        "usdr",
        "csdr",
    )  # also csdr_museval, nsdr, si_sdr, sir …
    rows: tuple[str, ...] = ("silence", "mixture", "model", "irm")  # also ibm, mwf
    align: bool = False  # find the lag of the estimates, tell it and take it out
    museval: bool = False  # with --save: files for museval too, frames of BSS Eval v4
    workers: int = 0  # processes to score in; they pay for oracles and BSS Eval


@dataclass(frozen=True)
class Shown:
    """What is shown and kept."""

    save: Path | None = None  # run folder: what is done there is not computed again
    save_stems: Path | None = None  # folder for the stems: to hear, for listen create
    published: bool = False  # what others scored, by the same definition, below yours
    format: Format = "table"  # of the tables; csv has one number a line
    figure: Path | None = None  # box plots of all tracks, such as scores.png


def evaluate(
    data: Annotated[Path, tyro.conf.Positional],
    config: Annotated[SeparateConfig, tyro.conf.arg(name="")],
    scored: Annotated[Scored, tyro.conf.arg(name="")],
    shown: Annotated[Shown, tyro.conf.arg(name="")],
    chosen: Annotated[Chosen, tyro.conf.arg(name="")],
    model: Model = DEMO_MODEL,
    weights: Path | None = None,
    estimates: Path | None = None,
    template: str = TEMPLATE,
    device: Annotated[str, tyro.conf.arg(aliases=["-d"])] = "auto",
) -> int:
    """Score a model, or stems on disk, beside silence, mixture and oracles.

    Args:
        data: a data set of any layout.
        config: how to separate; with --estimates only --stems counts.
        scored: what to compute.
        shown: what to show and keep.
        chosen: which songs to score.
        model: published name, checkpoint file or run folder; the demo's if not given.
        weights: a local file of weights; with a published name, in place of its own.
        estimates: folder of stems that any program made, in place of a model.
        template: where in it a stem lies.
        device: auto, cpu, cuda, mps.
    """
    from mssedu.data.layouts import load_dataset
    from mssedu.evaluation.estimates import FileEstimates, output_grouping
    from mssedu.evaluation.run import evaluate as run

    _check_flags(shown, scored, chosen.tracks)
    network, settings, stems = None, {}, config.stems
    if estimates is not None:
        _check_no_model(model, weights, estimates)
    elif "model" in scored.rows:
        network = load_shown(*source(model, weights), device)
        settings, stems = asdict(config), output_grouping(network, config)
    songs = load_dataset(
        data, chosen.split, stems=stems or None, on_length=chosen.on_length
    )
    files = None
    if estimates is not None:
        files = FileEstimates(estimates, songs[0].stems, template, stems)
    places = {"folder": shown.save, "stems_folder": shown.save_stems}
    with bar("evaluating") as update:
        found = run(
            network,
            songs[: chosen.tracks],
            estimates=files,
            log=_say,
            progress=update,
            **(asdict(scored) | settings | places),
        )
    return _show(found, shown)


def compare(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    metric: str | None = None,
    common: bool = False,
    format: Format = "table",
) -> int:
    """Compare evaluations, song by song, with the first of them.

    Args:
        runs: folders of mssedu evaluate --save; the first is the baseline.
        metric: to compare; the first of the first run if not given.
        common: where songs or stems are not the same, take those that all runs have.
        format: of the table.
    """
    from mssedu.evaluation.comparison import compare as run
    from mssedu.evaluation.comparison import comparison_note, comparison_table
    from mssedu.evaluation.result import load_evaluation

    if len(set(runs)) < len(runs):
        remedy = "Name each run once."
        got = [str(path) for path in runs]
        raise InputError(message("compare", "different runs", got, remedy))
    short = len({path.name for path in runs}) == len(runs)
    loaded = {p.name if short else str(p): load_evaluation(p) for p in runs}
    found = run(loaded, metric, common=common)
    title = metric or next(iter(loaded.values())).metrics[0]
    _print(render(*comparison_table(found, title), format), WIDE)
    _print(note(comparison_note(loaded, found), format))
    return 0


def published(definition: str | None = None, format: Format = "table") -> int:
    """Print what the field has published, with definition, data and source.

    Args:
        definition: only rows of csdr, usdr or nsdr.
        format: of the table.
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
    _print(render(*table, format), WIDE)
    _print(note(NOTE, format))
    if on_terminal:
        _print(note("Sources: mssedu published --format markdown, or csv."))
    return 0


def _check_no_model(model: str, weights: Path | None, estimates: Path) -> None:
    if weights is not None or model != DEMO_MODEL:
        remedy, got = "Leave one of them out.", f"{model} and {estimates}"
        raise InputError(message("evaluate", "a model or estimates", got, remedy))


def _check_flags(shown: Shown, scored: Scored, tracks: int | None) -> None:
    """Mistakes that would else be found after hours."""
    if tracks is not None:
        check_range("tracks", tracks, 1)
    if scored.museval and shown.save is None:
        remedy = "Add --save FOLDER."
        raise InputError(message("evaluate --museval", "a run folder", None, remedy))
    if shown.save is not None and shown.save.is_file():
        remedy = "Choose another name: it holds a file per song."
        raise InputError(message("evaluate --save", "a folder", shown.save, remedy))
    if shown.figure is not None and shown.figure.suffix not in FIGURES:
        remedy = f"Choose one of {', '.join(FIGURES)}."
        raise InputError(
            message("evaluate --figure", "a picture", shown.figure.name, remedy)
        )


def _show(found: "Evaluation", shown: Shown) -> int:
    """Files, tables, and the code of success."""
    from mssedu.evaluation.published import NOTE, published_beside
    from mssedu.evaluation.score_tables import long_table, score_note, score_table

    # Files first: whoever reads the tables through a pipe may stop in the middle.
    if shown.save is not None:
        _say(f"Scores of every track: {found.save(shown.save)}")
    if shown.figure is not None:
        _draw(found, shown.figure)
        _say(f"Figure: {shown.figure}")
    if shown.format == "csv":
        _print(render(*long_table(found, found.metrics), "csv"))
    for metric in found.metrics if shown.format != "csv" else ():
        _print(render(*score_table(found, metric), shown.format))
        _print(note(score_note(found, metric), shown.format))
        if shown.format != "latex":
            _print("")
        if shown.published:
            head, lines = published_beside(found, metric)
            _print(render(head, lines, shown.format) if lines else "")
            text = f"Yours are other songs, unless you scored all of that set. {NOTE}"
            nothing = f"Nothing is published by {metric}."
            _print(note(text if lines else nothing, shown.format) + "\n")
    return 0


def _draw(found: "Evaluation", path: Path) -> None:
    from mssedu.evaluation.score_tables import titled
    from mssedu.figures.evaluation import boxes_figure

    panels = {
        titled(found, metric): {
            row: {s: [*found.by_track(metric, row, s).values()] for s in found.stems}
            for row in found.rows
        }
        for metric in found.metrics
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    boxes_figure(panels).savefig(path, dpi=150)


def _say(line: str) -> None:
    """To stderr: what is printed stays a table that can be piped."""
    err.print(line, markup=False, highlight=False)


def _print(content: Any, width: int = 0) -> None:
    """As it is; a table wider than the terminal is better than one of broken words."""
    console = Output(width=width, soft_wrap=True) if width > out.width else out
    console.print(content, markup=False, highlight=False)
