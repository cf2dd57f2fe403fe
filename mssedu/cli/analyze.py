"""The command `mssedu analyze`: where and how a model fails, on a page with players.

mssedu analyze DATA -m htdemucs                     all songs
mssedu analyze DATA -m htdemucs --tracks 5          the first five
"""

from pathlib import Path
from typing import Annotated

import tyro

from mssedu.cli.console import bar, load_shown, out
from mssedu.cli.separate import DEMO_MODEL, Model, source
from mssedu.errors import InputError, check_range

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
    """Find out where a model fails: bleed, score over time, worst excerpts.

    Args:
        data: Analyze the songs of this data set, in any layout.
        model: Use this published name, checkpoint file or run folder; otherwise the
            model of mssedu demo.
        weights: Use this local file of weights; with a published name, it replaces the
            download.
        split: Use only this split: train, valid or test (None: all songs).
        tracks: Use only so many songs, the first of the data set (None: all).
        out_dir: Write report.html and errors.json to this folder.
        worst: Show so many of the worst excerpts.
        segment: Compute so many seconds at once (None: as the model was trained).
        overlap: Let the next chunk cover this share of a chunk too, 0 <= overlap < 1.
        device: Compute on this device: auto, cpu, cuda or mps.
    """
    from mssedu.data.layouts import load_dataset
    from mssedu.evaluation.error_analysis import analyze_errors
    from mssedu.evaluation.estimates import ModelEstimates
    from mssedu.models.contract import grouping_of
    from mssedu.reports.errors import write_analysis
    from mssedu.reports.tables import render
    from mssedu.separation.config import SeparateConfig

    _check(out_dir, tracks)
    network = load_shown(*source(model, weights), device)
    songs = load_dataset(data, split, stems=grouping_of(network))[:tracks]
    estimates = ModelEstimates(
        network, SeparateConfig(segment=segment, overlap=overlap)
    )
    with bar("analyzing") as update:
        analysis = analyze_errors(estimates, songs, n_worst=worst, progress=update)
    name, file = source(model, weights)
    seconds = sum(song.duration for song in songs)
    facts = {
        "model": f"{name}, {file}" if file else str(name),
        "parameters": f"{sum(p.numel() for p in network.parameters()):,}",
        "songs": f"{len(songs)} of {data}, {seconds:.0f} s in total",
        "settings": f"segment {segment or 'of the model'}, overlap {overlap:g}",
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    title, page = f"Errors of {name}", out_dir / PAGE
    write_analysis(page, analysis, title=title, facts=facts)
    summary = analysis.summary()
    formats = dict.fromkeys(summary, "z.1f")
    out.print(render(summary, formats=formats), highlight=False)
    out.print(f"All numbers: {analysis.save(out_dir / NUMBERS)}")
    out.print(f"Page with players ({page.stat().st_size / 1e6:.1f} MB): {page}")
    return 0


def _check(out_dir: Path, tracks: int | None) -> None:
    """Raise an error before hours of work: nothing to do, or files to overwrite."""
    if tracks is not None:
        check_range("tracks", tracks, 1)
    for name in (PAGE, NUMBERS):
        if (out_dir / name).exists():
            raise InputError(
                f"{out_dir / name} exists. Remove it, or choose another folder with -o."
            )
