"""The command `mssedu analyze`: where and how a model fails, on a page with players.

mssedu analyze DATA -m htdemucs --tracks 5          the first five songs
"""

from pathlib import Path
from typing import Annotated

import tyro

from mssedu.audio.disk import check_folder
from mssedu.cli.console import bar, load_shown, load_songs, out
from mssedu.cli.separate import ModelOptions
from mssedu.data.options import DataOptions
from mssedu.errors import InputError, check_range

PAGE, NUMBERS = "report.html", "errors.json"


def analyze(
    data: Annotated[Path, tyro.conf.Positional],
    model: tyro.conf.OmitArgPrefixes[ModelOptions],
    dataset: tyro.conf.OmitArgPrefixes[DataOptions],
    split: str | None = None,
    tracks: int | None = None,
    out_dir: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/analysis"),
    worst: int = 10,
    segment: float | None = None,
    overlap: float = 0.25,
) -> int:
    """Find out where a model fails: bleed, score over time, worst excerpts.

    Args:
        data: folder of a data set in any layout
        model: Options for choosing the model.
        dataset: Options for reading the data set.
        split: use only the songs of this part: train, valid or test (None: all)
        tracks: use only this number of songs, the first by name (None: all)
        out_dir: folder for report.html and errors.json
        worst: number of worst excerpts to show
        segment: chunk length in seconds (None: the model's training length)
        overlap: share of a chunk that the next chunk covers too, 0 <= overlap < 1
    """
    from mssedu.evaluation.error_analysis import analyze_errors
    from mssedu.evaluation.estimates import ModelEstimates
    from mssedu.models.contract import grouping_of
    from mssedu.reports.errors import write_analysis
    from mssedu.reports.tables import render
    from mssedu.separation.config import SeparateConfig

    # Before hours of work: is there nothing to do, or a file that must stay?
    if tracks is not None:
        check_range("tracks", tracks, 1)
    for file in (out_dir / PAGE, out_dir / NUMBERS):
        if file.exists():
            raise InputError(
                f"{file} exists. Remove it, or choose another folder with -o."
            )
    check_folder(out_dir)
    network = load_shown(*model.source, model.device)
    songs = load_songs(data, dataset, split, stems=grouping_of(network))[:tracks]
    config = SeparateConfig(segment=segment, overlap=overlap)
    estimates = ModelEstimates(network, config)
    with bar("analyzing") as update:
        analysis = analyze_errors(estimates, songs, n_worst=worst, progress=update)
    name, weights, _ = model.source
    analyzed = {track.name for track in analysis.tracks}  # a song may lack all stems
    seconds = sum(song.duration for song in songs if song.name in analyzed)
    facts = {
        "model": f"{name}, {weights}" if weights else str(name),
        "parameters": f"{sum(p.numel() for p in network.parameters()):,}",
        "songs": f"{len(analyzed)} of {data}, {seconds:.0f} s in total",
        "settings": f"segment {segment or 'of the model'}, overlap {overlap:g}",
    }
    page = out_dir / PAGE
    out_dir.mkdir(parents=True, exist_ok=True)
    write_analysis(page, analysis, title=f"Errors of {name}", facts=facts)
    summary = analysis.summary()
    table = render(summary, formats=dict.fromkeys(summary, "z.1f"))
    out.print(table, highlight=False)
    out.print(f"All numbers: {analysis.save(out_dir / NUMBERS)}")
    out.print(f"Page with players ({page.stat().st_size / 1e6:.1f} MB): {page}")
    return 0
