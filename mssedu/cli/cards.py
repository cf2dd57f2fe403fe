"""A part of the command `mssedu card`: several models in one table, and as a figure.

    --all "htdemucs*"  ─▶ counts at one length ─▶ peak memory, time ─▶ table, figure

Counting computes nothing, so it takes seconds. The peak memory needs one forward of
each model, and `--song 180` separates a song of noise, which takes minutes on a CPU.
"""

import fnmatch
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mssedu.cli.console import bar, say
from mssedu.cli.curves import DOTS_PER_INCH
from mssedu.cli.curves import FORMATS as FIGURES
from mssedu.errors import InputError, check_name, check_range
from mssedu.reports.tables import Format, render
from mssedu.reports.tables import note as remark

if TYPE_CHECKING:
    from pandas import DataFrame

    from mssedu.inspect.costs import Counts

SEGMENT = 10.0  # seconds, as in the record
NOTE = (
    "All counts are for one segment of {segment:g} s. 'million parameters' and 'GFLOP' "
    "are true: all parameters, and 2 FLOPs for each multiplication and addition of "
    "convolutions, linear layers and attention. 'thop' counts as the package of that "
    "name: MACs without attention, transposed convolutions too often, and the "
    "parameters of some layers only. 'record' is what the record of the HTDemucs "
    "variants quotes; its G is a number of thop's MACs, some of them of a segment of 8 "
    "or 4 s, and 'thop G there' repeats it. Memory: the peak of one segment on {device}"
)
FORMATS = {
    "million parameters": ".2f",
    "GFLOP": ".1f",
    "thop G": ".2f",
    "thop M": ".2f",
    "record G": ".2f",
    "record M": ".2f",
    "record segment, s": ".0f",
    "thop G there": ".2f",
    "memory, MB": ".0f",
    "song, s": ".3g",
    "record song, s": ".2f",
}  # columns of `compared` -> format of their numbers


def cards(
    pattern: str,
    preset: str | None,
    stems: Sequence[str],
    segment: float | None,
    form: Format,
    device: str,
    song: float | None,
    out: Path | None,
) -> int:
    """Compare all models whose names match a pattern; options as in `mssedu card`."""
    from mssedu.inspect.costs import count_costs
    from mssedu.models.registry import list_models

    names = fnmatch.filter(list_models(), pattern)
    if not names:
        raise InputError(
            f"--all: no model matches {pattern!r}. Models: {', '.join(list_models())}."
        )
    segment = SEGMENT if segment is None else segment
    if song is not None:
        check_range("song", song, 0, 3600, low_open=True)
    if out is not None:
        check_name("format of a figure", out.suffix.lower().lstrip("."), FIGURES)
    counts, measured = [], []
    with bar("measuring") as update:
        for index, name in enumerate(names):
            update(index, len(names), name)
            counted = count_costs(name, preset, segment=segment, stems=stems or None)
            counts.append(counted)
            measured.append(_measure(counted, stems, device, song))
        update(len(names), len(names))
    say(render(compared(counts, measured), form, formats=FORMATS))
    say(remark(NOTE.format(segment=segment, device=_device_name(device)), form))
    if out is not None:
        _draw(counts, out)
        say(remark(f"Figure: {out}", form))
    return 0


def compared(
    counts: "Sequence[Counts]", measured: Sequence[tuple[int, float | None]]
) -> "DataFrame":
    """A table with a row per model; FORMATS has the formats of its numbers.

    Args:
        counts: of each model.
        measured: bytes of memory, and seconds for a song, of each model.
    """
    from pandas import DataFrame

    rows = []
    for one, (memory, seconds) in zip(counts, measured, strict=True):
        quoted, there = one.quoted, one.thop_macs_of_record
        rows.append(
            {
                "model": one.name,
                "preset": one.preset,
                "million parameters": one.n_parameters / 1e6,
                "GFLOP": one.flops / 1e9,
                "thop G": one.thop_macs / 1e9,
                "thop M": one.thop_parameters / 1e6,
                "record G": quoted.giga if quoted else None,
                "record M": quoted.million if quoted else None,
                "record segment, s": quoted.segment if quoted and quoted.giga else None,
                "thop G there": None if there is None else there / 1e9,
                "memory, MB": memory / 1e6,
                "song, s": seconds,
                "record song, s": quoted.seconds if quoted else None,
            }
        )
    table = DataFrame(rows)
    numbers = table.columns.drop(["model", "preset"])
    table = table.astype(dict.fromkeys(numbers, float))
    return table.drop(columns="song, s") if table["song, s"].isna().all() else table


def _measure(
    counted: "Counts", stems: Sequence[str], device: str, song: float | None
) -> tuple[int, float | None]:
    """Peak memory of one segment in bytes, weights included, and seconds for a song."""
    import torch

    from mssedu.inspect.complexity import peak_memory
    from mssedu.inspect.costs import model_at
    from mssedu.models.contract import config_of, pick_device
    from mssedu.separation.tensors import separate

    segment, place = counted.segment, pick_device(device)
    model = model_at(counted.name, counted.preset, segment, stems or None)
    model = model.to(place).eval()
    config = config_of(model)
    samples = max(1, round(segment * config.sample_rate))
    mixture = 0.1 * torch.randn(1, config.channels, samples, device=place)
    with torch.no_grad(), peak_memory(place) as peak:
        model(mixture)
    memory = peak() + sum(weight.nbytes for weight in model.parameters())
    if song is None:
        return memory, None
    noise = 0.1 * torch.randn(config.channels, round(song * config.sample_rate))
    start = time.perf_counter()
    separate(model, noise.to(place), segment=segment)
    return memory, time.perf_counter() - start


def _device_name(device: str) -> str:
    from mssedu.models.contract import pick_device

    return str(pick_device(device))


def _draw(counts: "Sequence[Counts]", out: Path) -> None:
    from mssedu.audio.disk import check_folder
    from mssedu.audio.files import write_bytes
    from mssedu.figures.costs import costs_figure

    check_folder(out.parent)
    figure = costs_figure(
        {
            one.name: {
                "quoted in the record": one.quoted.giga if one.quoted else None,
                f"thop's MACs of {one.segment:g} s": one.thop_macs / 1e9,
                f"true MACs of {one.segment:g} s": one.flops / 2e9,
            }
            for one in counts
        },
        xlabel="Billions",
    )
    content = io.BytesIO()
    kind = out.suffix.lower().lstrip(".")
    figure.savefig(content, format=kind, dpi=DOTS_PER_INCH)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, content.getvalue())
