r"""Are exported models right, how large are they, and how fast beside PyTorch?

    python benchmarks/export.py                                   preset tiny of all
    python benchmarks/export.py --models htdemucs_d4,htdemucs_nn  some, variants too
    python benchmarks/export.py --weights FILE            adds the published htdemucs

Each model becomes an ONNX file in a temporary folder. The gap is the largest difference
between its stems and those of PyTorch over mixtures of several lengths, from one sample
to a few seconds: noise, full scale 1. Then the file, the plain forward and our fast
path (`mssedu.separation.fast`) take turns on one mixture of 5 s. The table has the
processor seconds of the fastest of three turns, which hardly depend on what else the
machine does.

Each model has a process of its own; its three sides share that, so the plain forward
also gets the memory that the fast path keeps. A row is written to --out as soon as it
is measured, and a second call measures only what is missing: remove the file after a
change of mssedu. At the end, a section of RESULTS.md is rewritten. Needs the extra
export.
"""

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from multiprocessing import Process
from pathlib import Path
from typing import Any

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import onnx
import torch
from results import processor, write_section
from torch import Tensor, nn

from mssedu.export import export_onnx
from mssedu.models.registry import create_model, list_models
from mssedu.separation.fast import ready
from mssedu.weights import load_model

LENGTHS = (1, 777, 30_001, 100_000, 300_000)  # samples
PUBLISHED = "htdemucs (published)"
PUBLISHED_LENGTHS = (1, 30_001, 343_980, 400_000)  # its segment, and more
SECONDS = 5.0  # of the mixture whose separation is timed
ROUNDS = 3
LARGEST_GAP = 1e-4
SIDES = {"onnx": "onnxruntime", "plain": "PyTorch, plain", "fast": "PyTorch, fast path"}
OUT = Path(tempfile.gettempdir(), "mssedu-export.jsonl")
Run = Callable[[Tensor], Tensor]
Row = dict[str, Any]


def add_measured(name: str, weights: Path | None, threads: int, out: Path) -> None:
    """Measure one model, in a process of its own."""
    torch.set_num_threads(threads)
    add_row(measure(name, weights), out)


def noise(channels: int, samples: int) -> Tensor:
    """The same mixture for every side."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, samples, generator=generator) / 10


def measure(name: str, weights: Path | None) -> Row:
    """All columns of one model."""
    torch.manual_seed(0)
    published = name == PUBLISHED
    model = load_model("htdemucs", weights=weights) if published else None
    model = (model or create_model(name, "tiny")).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(model, Path(folder, "model.onnx"))
        loaded = load_model(path)
        graph = onnx.load(path).graph
        size = path.stat().st_size
    lengths = PUBLISHED_LENGTHS if published else LENGTHS
    return {
        "model": name,
        **compare(model, loaded, lengths),
        "operations": len(graph.node),
        "megabytes": size / 1e6,
        "seconds": times(model, loaded),
    }


@torch.no_grad()
def compare(model: nn.Module, loaded: nn.Module, lengths: Sequence[int]) -> Row:
    """The largest difference over these lengths, and the loudest sample."""
    gaps, peaks = {}, {}
    for samples in lengths:
        mixture = noise(model.config.channels, samples)
        want = model(mixture)
        gaps[samples] = float((loaded(mixture) - want).abs().max())
        peaks[samples] = float(want.abs().max())
    return {"gaps": gaps, "gap": max(gaps.values()), "loudest": max(peaks.values())}


def times(model: nn.Module, loaded: nn.Module) -> dict[str, float]:
    """Processor seconds of the fastest turn of each side."""
    config = model.config
    mixture = noise(config.channels, round(SECONDS * config.sample_rate))
    with torch.no_grad(), ready(copy.deepcopy(model)) as fast:
        return take_turns({"onnx": loaded, "plain": model, "fast": fast}, mixture)


def take_turns(runs: dict[str, Run], mixture: Tensor) -> dict[str, float]:
    """Processor seconds of the fastest of the rounds, after one that warms up."""
    seconds: dict[str, list[float]] = {side: [] for side in runs}
    for _ in range(1 + ROUNDS):
        for side, run in runs.items():
            before = time.process_time()
            run(mixture)
            seconds[side].append(time.process_time() - before)
    return {side: min(found[1:]) for side, found in seconds.items()}


# ---- rows and the page --------------------------------------------------------------


def setting() -> Row:
    """What a row was measured with; rows of another setting are measured again."""
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "onnxruntime": version("onnxruntime"),
    }


def described() -> str:
    """The setting and the date, for the page."""
    found = setting()
    threads = f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    return (
        f"{found['processor']}, {threads}, torch {found['torch']}, onnxruntime "
        f"{found['onnxruntime']}, {time.strftime('%Y-%m-%d')}"
    )


def read_rows(out: Path) -> list[Row]:
    """The rows of this setting in the file; a line that a kill has cut is no row."""
    rows, now = [], setting()
    for line in out.read_text("utf-8").splitlines() if out.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if row.pop("setting") == now:
            rows.append(row)
    return rows


def add_row(row: Row, out: Path) -> None:
    """Append a row, on a line of its own."""
    with out.open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(row | {"setting": setting()}) + "\n")


def command(script: str) -> str:
    """The command of this run, folders left out."""
    words = [Path(word).name for word in sys.argv[1:]]
    return " ".join([f"python benchmarks/{script}.py", *words])


def table(rows: Sequence[Row]) -> list[str]:
    """A line for each model, in Markdown."""
    heads = ["model", "gap", "loudest", "operations", "MB", *SIDES.values()]
    lines = [f"| {' | '.join(heads)} |", "| ---" + " | ---:" * (len(heads) - 1) + " |"]
    for row in rows:
        seconds = " | ".join(f"{row['seconds'][side]:.2f}" for side in SIDES)
        lines.append(
            f"| {row['model']} | {row['gap']:.0e} | {row['loudest']:.2g} "
            f"| {row['operations']} | {row['megabytes']:.1f} | {seconds} |"
        )
    return lines


def verdict(rows: Sequence[Row]) -> str:
    """What the table shows, in sentences."""
    wrong = [
        f"{row['model']} with {samples} samples"
        for row in rows
        for samples, gap in row["gaps"].items()
        if not gap <= LARGEST_GAP
    ]
    text = f"All {len(rows)} files give the stems of PyTorch to within {LARGEST_GAP:g}"
    text += f", but for: {', '.join(wrong)}." if wrong else "."
    for side in ("plain", "fast"):
        faster = [r for r in rows if r["seconds"]["onnx"] < r["seconds"][side]]
        names = ", ".join(row["model"] for row in faster) or "none"
        text += f"\nonnxruntime takes less time than {SIDES[side]}, for {len(faster)} "
        text += f"of {len(rows)}: {names}."
    return text


def section(rows: Sequence[Row], missing: Sequence[str]) -> str:
    """The text of the section of RESULTS.md."""
    lengths, longer = (", ".join(map(str, n)) for n in (LENGTHS, PUBLISHED_LENGTHS))
    lines = [
        "## ONNX files: right, how large, how fast",
        "",
        f"`{command('export')}`,",
        f"{described()}:",
        f"preset tiny, random weights. Mixtures of {lengths} samples",
        f"(published: {longer}), noise, full scale 1. The gap is the largest",
        "difference from PyTorch; loudest is the loudest sample of its stems. Times",
        f"are the processor seconds of one mixture of {SECONDS:g} s, the fastest of",
        f"{ROUNDS} turns.",
        "",
        *table(rows),
        "",
        verdict(rows),
    ]
    if missing:
        lines.append(f"Not exported: {', '.join(missing)}.")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, a process for each model; then write the section."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    usual = [name for name in list_models() if not name.startswith("htdemucs_")]
    parser.add_argument("--models", default=",".join(usual))
    parser.add_argument("--weights", type=Path, help="of the published htdemucs")
    parser.add_argument("--out", type=Path, default=OUT, help=f"else {OUT}")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = options.models.split(",") + [PUBLISHED] * bool(options.weights)
    print(f"rows are kept in {options.out}", flush=True)
    for name in names:
        if name not in {row["model"] for row in read_rows(options.out)}:
            # The parent never computes, so a copy of it starts as a new process would.
            work = (name, options.weights, options.threads, options.out)
            child = Process(target=add_measured, args=work)
            child.start()
            child.join()
            print(f"{name}: {'failed' if child.exitcode else 'done'}", flush=True)
    found = {row["model"]: row for row in read_rows(options.out)}
    rows = [found[name] for name in names if name in found]
    text = section(rows, [name for name in names if name not in found])
    write_section("export", text)
    print(text)


if __name__ == "__main__":
    main()
