"""The command `mssedu curves`: learning curves of training runs, as a figure.

mssedu curves runs/train                            one run, in curves.pdf
mssedu curves runs/a runs/b runs/c -o paper.svg     a line for each of several runs
mssedu curves runs/seed* --seeds                    seeds of one recipe as a band
"""

import io
from pathlib import Path
from typing import Annotated

import tyro

from mssedu.audio.disk import check_folder
from mssedu.cli.console import say
from mssedu.errors import InputError, check_name

FORMATS = ("pdf", "png", "svg")
DOTS_PER_INCH = 150  # of a png
RUNS = tyro.conf.arg(metavar="RUN [RUN …]", help_behavior_hint="")


def curves(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, RUNS],
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("curves.pdf"),
    seeds: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Draw the learning curves of training runs.

    Args:
        runs: folders of one or several runs
        out: write the figure to this file, which ends in .pdf, .png or .svg; an older
            figure there is replaced
        seeds: draw runs that differ in their seed alone as one line, their mean, in a
            band from the lowest to the highest
    """
    from mssedu.audio.files import write_bytes
    from mssedu.figures.curves import learning_figure

    kind = check_name("format of a figure", out.suffix.lower().lstrip("."), FORMATS)
    if not runs:
        raise InputError("no run is given. Give folders of runs, such as runs/train.")
    check_folder(out.parent)
    figure = learning_figure(runs, seeds=seeds)
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=DOTS_PER_INCH)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, content.getvalue())
    say(f"Learning curves: {out}")
    return 0
