"""The commands `evaluate`, `compare` and `published`: scores and their intervals.

mssedu evaluate DATA -m htdemucs --split test -o runs/scores    a model
mssedu evaluate DATA --estimates separated -o runs/theirs       stems of any program
mssedu compare runs/scores runs/theirs                          paired, p-values
mssedu published                                                scores of papers
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mssedu.audio.disk import check_file, check_folder
from mssedu.cli.console import Output, bar, err, load_shown, load_songs, out
from mssedu.cli.separate import ModelOptions
from mssedu.data.options import DataOptions
from mssedu.errors import InputError, check_name, check_range
from mssedu.reports.tables import Format, note, render
from mssedu.separation.config import QualityOptions, SeparateConfig, SpeedOptions
from mssedu.weights.published import SHIPPED

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
    # also write the scores of every second for museval, into the folder of --out-dir
    museval: bool = False
    # number of extra processes that compute scores (0: none); they save time with BSS
    # Eval and the oracles
    workers: int = 0


@dataclass(frozen=True)
class ResultOptions:
    """Options for the results."""

    # folder for the scores; songs whose scores are there already are not computed again
    out_dir: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
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
    song: tyro.conf.OmitArgPrefixes[SongOptions],
    dataset: tyro.conf.OmitArgPrefixes[DataOptions],
    model: tyro.conf.OmitArgPrefixes[ModelOptions],
    score: tyro.conf.OmitArgPrefixes[ScoreOptions],
    result: tyro.conf.OmitArgPrefixes[ResultOptions],
    quality: tyro.conf.OmitArgPrefixes[QualityOptions],
    speed: tyro.conf.OmitArgPrefixes[SpeedOptions],
    estimates: Path | None = None,
    template: str = TEMPLATE,
) -> int:
    """Score a model, or stems on disk, beside silence, mixture and oracles.

    Args:
        data: folder of a data set in any layout.
        song: Options for choosing the songs.
        dataset: Options for reading the data set.
        model: Options for choosing the model.
        score: Options for the computation of the scores.
        result: Options for the results.
        quality: Options that change the estimate; with --estimates only --stems counts.
        speed: Options that change time and memory, and the estimate by rounding only.
        estimates: folder of stems of any program, to score in place of a model.
        template: path of each stem below the folder of --estimates.
    """
    from mssedu.evaluation.estimates import FileEstimates, output_grouping
    from mssedu.evaluation.run import evaluate as run

    config = SeparateConfig(**vars(quality), **vars(speed))
    _check_flags(song, score, result)
    network, files, stems = None, None, config.stems
    if estimates is not None:
        if model.weights is not None or model.model != SHIPPED:
            raise InputError(
                f"--estimates {estimates} is scored in place of a model, and a model "
                "is named too. Leave one of them out."
            )
    elif "model" in score.rows:
        network = load_shown(*model.source, model.device)
        stems = output_grouping(network, config)
    tracks = load_songs(data, dataset, song.split, stems=stems or None, log=_say)
    if estimates is not None:
        files = FileEstimates(estimates, tracks[0].stems, template, stems)
    with bar("evaluating") as update:
        found = run(
            network,
            tracks[: song.tracks],
            metrics=score.metrics,
            rows=score.rows,
            estimates=files,
            separation=config,
            device=model.device,
            folder=result.out_dir,
            stems_folder=result.save_stems,
            align=score.align,
            museval=score.museval,
            workers=score.workers,
            log=_say,
            progress=update,
        )
    return _show(found, result)


def compare(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    metric: str | None = None,
    common: bool = False,
    format: Format = "table",
) -> int:
    """Compare evaluations, song by song, with the first of them.

    Args:
        runs: folders of mssedu evaluate -o; the first one is the baseline.
        metric: score to compare (default: the first score of the first run).
        common: if the runs differ in songs or stems, compare those that all runs have.
        format: format of the table.
    """
    from mssedu.evaluation.comparison import compare as run
    from mssedu.evaluation.comparison import comparison_note, comparison_table
    from mssedu.evaluation.result import load_evaluation

    if len({path.resolve() for path in runs}) < len(runs):
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
    from mssedu.evaluation.published import NOTE, published_scores, published_table

    if definition is not None:
        known = {row.definition for row in published_scores()}
        check_name("definition", definition, known)
    table = published_table(definition, sources=format != "table")
    _print(render(table, format), WIDE)
    _print(note(NOTE, format))
    if format == "table":
        _print(note("Sources: mssedu published --format markdown, or csv."))
    return 0


def _check_flags(song: SongOptions, score: ScoreOptions, result: ResultOptions) -> None:
    """Find mistakes now that would otherwise be found after hours."""
    if song.tracks is not None:
        check_range("tracks", song.tracks, 1)
    if score.museval and result.out_dir is None:
        raise InputError("--museval needs a folder for its files. Add -o FOLDER.")
    for folder in (result.out_dir, result.save_stems):
        if folder is not None:
            check_folder(folder)
    if result.figure is not None:
        if result.figure.suffix not in FIGURES:
            endings = ", ".join(FIGURES)
            raise InputError(
                f"--figure {result.figure}: the name must end in one of {endings}."
            )
        check_file(result.figure)


def _show(found: "Evaluation", result: ResultOptions) -> int:
    """Write the files, print the tables, and return the exit code 0."""
    from mssedu.evaluation.published import NOTE, published_beside

    # Files first: a reader of the tables through a pipe may stop in the middle.
    if result.out_dir is not None:
        _say(f"Scores of every track: {found.save(result.out_dir)}")
    if result.figure is not None:
        from mssedu.figures.scores import boxes_figure

        panels = {
            found.title(metric): {
                row: {
                    s: [*found.by_track(metric, row, s).values()] for s in found.stems
                }
                for row in found.rows
            }
            for metric in found.metrics
        }
        result.figure.parent.mkdir(parents=True, exist_ok=True)
        boxes_figure(panels).savefig(result.figure, dpi=150)
        _say(f"Figure: {result.figure}")
    if result.format == "csv":
        _print(render(found.summaries(), "csv", decimals=4))
        return 0
    for metric in found.metrics:
        _print(render(found.table(metric), result.format))
        _print(note(found.note(metric), result.format))
        if result.format != "latex":
            _print("")
        if result.published:
            beside = published_beside(found, metric)
            _print("" if beside.empty else render(beside, result.format))
            text = f"Yours are other songs, unless you scored all of that set. {NOTE}"
            nothing = f"Nothing is published by {metric}."
            _print(note(nothing if beside.empty else text, result.format) + "\n")
    return 0


def _say(line: str) -> None:
    """Print to stderr, so that stdout holds only tables, which can be piped."""
    err.print(line, markup=False, highlight=False)


def _print(content: Any, width: int = 0) -> None:
    """Print a text or table as it is; `width`: of its lines, without broken words."""
    console = Output(width=width, soft_wrap=True) if width > out.width else out
    console.print(content, markup=False, highlight=False)
