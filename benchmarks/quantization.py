r"""What a rounding of the weights costs: the published htdemucs on real music.

    python benchmarks/quantization.py --weights FILE --data MUSDB18-7S [--clips 6]

Each row has the model with its weights rounded in one way, separates the first test
clips of MUSDB18's preview and is compared with float32: the usdr that is lost, stem by
stem. An ONNX file with matrices in 8 bits also computes otherwise, so its processor
seconds are measured too, in turns with the ONNX file in float32 and with our fast path.
The rounded weights of the other rows are computed with as float32: they save space
only.

MB counts numbers. A weight of few bits takes that many, and each group of 8 weights two
numbers of 16 bits more, its scale and its offset; small tensors (one axis, or at most
1000 numbers) keep 32 bits. The ONNX files have the size that they have on the disk.

Scores are written to the folder --out clip by clip, beside the two ONNX files, and a
second call goes on from there: remove it after a change of mssedu. At the end, a
section of RESULTS.md is rewritten. Needs the extra export. The clips and the weights
are for research only and no part of mssedu.
"""

import argparse
import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import torch
from export import ROUNDS, Row, add_row, command, described, read_rows, take_turns
from results import write_section
from torch import nn

import mssedu
from mssedu.data.track import Track
from mssedu.export import export_onnx
from mssedu.metrics.ratios import usdr
from mssedu.separation.fast import ready
from mssedu.training.noise import GROUP, quantized
from mssedu.weights import load_model

BITS = (8, 6, 4)
SMALL = 1000  # numbers; a tensor with no more than these stays exact
SCALES = 2 * 16  # bits of scale and offset of a group
EXACT, HALF = "float32", "float16"
FILE, INT8 = "ONNX, float32", "ONNX, int8 matrices"
NAMES = (EXACT, HALF, *(f"{bits} bits" for bits in BITS), FILE, INT8)
OVERLAP = 0.25
LITTLE = 0.05  # dB of usdr that a faster computation may lose
NOTE = f"""
the published htdemucs on {{clips}} test clips of MUSDB18's preview, overlap {OVERLAP},
no shifts. usdr lost in dB, float32 minus the row: the mean over the clips, without the
stems that are silent in one ({{silent}}). MB: bits of a weight, and for few bits 16
each for scale and offset of a group of {GROUP} weights; tensors of one axis or at most
{SMALL} numbers have 32 bits; ONNX files are as large as on the disk. The weights were
published in 16 bits, so float16 is exact. Times are ratios of processor seconds of one
mixture of {{length:.1f}} s, the fastest of {ROUNDS} turns: {{shown}}. Rows without a
time are computed in float32 as well."""
OUT = Path(tempfile.gettempdir(), "mssedu-quantization")


def is_large(weight: torch.Tensor) -> bool:
    """Whether a tensor is rounded to few bits."""
    return weight.ndim > 1 and weight.numel() > SMALL


@torch.no_grad()
def rounded(model: nn.Module, name: str) -> nn.Module:
    """A copy of the model whose weights are rounded as the row says."""
    model = copy.deepcopy(model)
    for weight in model.parameters():
        if name == HALF:
            weight.copy_(weight.half())
        elif name != EXACT and is_large(weight):
            weight.copy_(quantized(weight, int(name.partition(" ")[0])))
    return model


def megabytes(model: nn.Module, name: str, folder: Path) -> float:
    """Of a file with these weights; of an ONNX file, as it is."""
    if name in (FILE, INT8):
        return onnx_path(folder, name).stat().st_size / 1e6
    bits = 0
    for weight in model.state_dict().values():
        each = 16 if name == HALF else 32
        if name not in (EXACT, HALF) and is_large(weight):
            each = int(name.partition(" ")[0])
            bits += SCALES * -(-weight.numel() // GROUP)
        bits += each * weight.numel()
    return bits / 8e6


def onnx_path(folder: Path, name: str) -> Path:
    return folder / ("int8.onnx" if name == INT8 else "float32.onnx")


def row_model(model: nn.Module, name: str, folder: Path) -> nn.Module:
    """The model of a row; an ONNX file is made if it is not there."""
    if name not in (FILE, INT8):
        return rounded(model, name)
    path = onnx_path(folder, name)
    if not path.exists():
        export_onnx(model, path, int8=name == INT8)
    return load_model(path)


def score(name: str, model: nn.Module, clips: Sequence[Track], out: Path) -> None:
    """A line for each clip that has none yet."""
    done = {row["clip"] for row in read_rows(out) if row.get("name") == name}
    for clip in clips:
        if clip.name in done:
            continue
        reference = torch.stack([clip.stem(stem) for stem in model.config.stems])
        estimate = mssedu.separate(model, clip.mixture(), overlap=OVERLAP)
        found = usdr(reference=reference, estimate=estimate).tolist()
        add_row({"name": name, "clip": clip.name, "usdr": found}, out)
        print(f"{name}, {clip.name}: {[round(x, 2) for x in found]}", flush=True)


def race(model: nn.Module, clip: Track, folder: Path, out: Path) -> None:
    """Processor seconds of one segment: our fast path, and both ONNX files."""
    if any("seconds" in row for row in read_rows(out)):
        return
    samples = round(model.config.segment * model.config.sample_rate)
    mixture = clip.mixture()[None, :, :samples]
    files = {name: row_model(model, name, folder) for name in (FILE, INT8)}
    with ready(copy.deepcopy(model)) as fast:
        seconds = take_turns({EXACT: fast, **files}, mixture)
    length = mixture.shape[-1] / model.config.sample_rate
    add_row({"seconds": seconds, "length": length}, out)


# ---- the page -----------------------------------------------------------------------


def losses(rows: Sequence[Row], clips: Sequence[str]) -> dict[str, torch.Tensor]:
    """(clips, stems): usdr of float32 minus that of each row, dB."""
    found = {(row["name"], row["clip"]): row["usdr"] for row in rows if "clip" in row}
    scores = {n: torch.tensor([found[n, clip] for clip in clips]) for n in NAMES}
    return {name: scores[EXACT] - score for name, score in scores.items()}


def table(
    lost: dict[str, torch.Tensor], sizes: dict[str, float], seconds: dict, stems: tuple
) -> list[str]:
    """A line for each row, in Markdown."""
    heads = ["weights", "MB", *stems, "mean", "time / fast path", "time / ONNX file"]
    lines = [f"| {' | '.join(heads)} |", "| ---" + " | ---:" * (len(heads) - 1) + " |"]
    for name in NAMES:
        by_stem = lost[name].nanmean(0)
        cells = [f"{x:.3f}" for x in (*by_stem.tolist(), float(by_stem.mean()))]
        ratios = [ratio(seconds, name, base) for base in (EXACT, FILE)]
        cells = [name, f"{sizes[name]:.0f}", *cells, *ratios]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def ratio(seconds: dict[str, float], name: str, base: str) -> str:
    """The time of a row over that of another, if it was measured."""
    return f"{seconds[name] / seconds[base]:.2f}" if name in seconds else "–"


def verdict(lost: dict[str, torch.Tensor], seconds: dict[str, float]) -> str:
    """What the table shows, in sentences."""
    means = {name: float(lost[name].nanmean(0).mean()) for name in NAMES}
    kept = [n for n in NAMES if n != EXACT and means[n] <= LITTLE]
    faster = [n for n in kept if n in seconds and seconds[n] < seconds[EXACT]]
    text = f"At most {LITTLE} dB lost in the mean: {'; '.join(kept) or 'none'}."
    if faster:
        return f"{text} Of these, faster than our fast path: {'; '.join(faster)}."
    return (
        f"{text} None of these is faster on this processor than our fast path in "
        "float32, so `separate` has no such option: a rounding saves space only."
    )


def section(model: nn.Module, rows: list[Row], clips: list[str], folder: Path) -> str:
    """The text of the section of RESULTS.md."""
    lost = losses(rows, clips)
    race_row = next(row for row in rows if "seconds" in row)
    seconds = race_row["seconds"]
    sizes = {name: megabytes(model, name, folder) for name in NAMES}
    silent = int(lost[EXACT].isnan().sum())
    shown = "; ".join(f"{name} {s:.2f}" for name, s in seconds.items())
    length = race_row["length"]
    note = NOTE.format(clips=len(clips), silent=silent, length=length, shown=shown)
    lines = [
        "## Weights of few bits: what a rounding costs",
        "",
        f"`{command('quantization')}`,",
        f"{described()}:{note}",
        "",
        *table(lost, sizes, seconds, model.config.stems),
        "",
        verdict(lost, seconds),
    ]
    return "\n".join(lines)


def main() -> None:
    """Score and time what is missing, then write the section."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path, required=True, help="of htdemucs")
    parser.add_argument("--data", type=Path, required=True, help="MUSDB18's preview")
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder; else {OUT}")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"scores are kept in {options.out}", flush=True)
    out = options.out / "scores.jsonl"
    model = load_model("htdemucs", weights=options.weights)
    clips = mssedu.load_dataset(options.data, "test", stems=model.config.stems)
    clips = clips[: options.clips]
    for name in NAMES:
        score(name, row_model(model, name, options.out), clips, out)
    race(model, clips[0], options.out, out)
    names = [clip.name for clip in clips]
    text = section(model, read_rows(out), names, options.out)
    write_section("quantization", text)
    print(text)


if __name__ == "__main__":
    main()
