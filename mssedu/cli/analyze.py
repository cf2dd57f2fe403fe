"""The command `mssedu analyze`: where and how a model goes wrong, as a page to hear.

mssedu analyze DATA -m htdemucs                     all songs
mssedu analyze DATA -m htdemucs --tracks 5          the first five
"""

from pathlib import Path
from typing import Annotated

import tyro

from mssedu.cli.console import bar, load_shown, out
from mssedu.cli.separate import DEMO_MODEL, Model, source
from mssedu.errors import InputError, check_range, message

PAGE, NUMBERS = "report.html", "errors.json"


def analyze(
    data: Annotated[Path, tyro.conf.Positional],
    model: Model = DEMO_MODEL,
    weights: Path | None = None,
    split: str | None = None,
    tracks: int | None = None,
    out_dir: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/analysis"),
    worst: int = 10,
    segment: float | None = None,
    overlap: float = 0.25,
    device: str = "auto",
) -> int:
    """Find out where a model goes wrong: bleed, score over time, worst excerpts.

    Args:
        data: a data set of any layout.
        model: published name, checkpoint file or run folder; the demo's model if not
            given.
        weights: a local file of weights; with a published name, in place of its own.
        split: train, valid or test; all songs if not given.
        tracks: only so many songs, the first of the data set; all if not given.
        out_dir: folder of report.html and errors.json.
        worst: excerpts to show.
        segment: seconds computed at once; the model's own if not given.
        overlap: share of a segment that the next covers too, 0 <= overlap < 1.
        device: auto, cpu, cuda, mps.
    """
    from mssedu.data.layouts import load_dataset
    from mssedu.evaluation.error_analysis import analyze_errors
    from mssedu.evaluation.estimates import ModelEstimates
    from mssedu.models.contract import grouping_of
    from mssedu.reports.errors import write_analysis
    from mssedu.reports.tables import render

    _check(out_dir, tracks)
    network = load_shown(*source(model, weights), device)
    found = load_dataset(data, split, stems=grouping_of(network))[:tracks]
    estimates = ModelEstimates(network, {"segment": segment, "overlap": overlap})
    with bar("analyzing") as update:
        analysis = analyze_errors(estimates, found, n_worst=worst, progress=update)
    name, file = source(model, weights)
    seconds = sum(track.duration for track in found)
    facts = {
        "model": f"{name}, {file}" if file else str(name),
        "parameters": f"{sum(p.numel() for p in network.parameters()):,}",
        "songs": f"{len(found)} of {data}, {seconds:.0f} s together",
        "settings": f"segment {segment or 'of the model'}, overlap {overlap:g}",
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    title, page = f"Errors of {name}", out_dir / PAGE
    write_analysis(page, analysis, title=title, facts=facts)
    out.print(render(*analysis.summary()), highlight=False)
    out.print(f"All numbers: {analysis.save(out_dir / NUMBERS)}")
    out.print(f"To read and hear ({page.stat().st_size / 1e6:.1f} MB): {page}")
    return 0


def _check(out_dir: Path, tracks: int | None) -> None:
    """Before hours of work: nothing to overwrite, something to do."""
    if tracks is not None:
        check_range("tracks", tracks, 1)
    for name in (PAGE, NUMBERS):
        if (out_dir / name).exists():
            remedy = "Choose another folder with -o, or remove it first."
            wanted = f"a folder without {name}"
            raise InputError(message("analyze", wanted, out_dir, remedy))
