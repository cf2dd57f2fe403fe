"""Write the results of the lab as small tables, which notebook 16 reads.

    python recipes/htdemucs_lab/collect.py SONGS RUNS

SONGS is the data set at 16 kHz, RUNS the folder with the finished grids, such as
RUNS/equal_steps; rows of grids that are not there stay as they are. README.md has the
commands. The tables lie beside this file:

    GRID.csv     usdr in dB: a row for each song and stem, a column for the mixture and
                 for each run, named variant/seed
    runs.csv     steps, processor seconds and costs of each run
    fusion.csv   what the runs with several spectrograms learned: shares of the windows
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import mssedu as ms
from mssedu.data.track import Track
from mssedu.errors import InputError
from mssedu.evaluation.result import load_evaluation
from mssedu.inspect.complexity import measure
from mssedu.inspect.fusion import fusion_shares
from mssedu.models.contract import config_of, eval_mode, grouping_of
from mssedu.training.grid import GridRun, read_grid
from mssedu.weights.checkpoint import load_checkpoint

HERE = Path(__file__).parent
GRIDS = ("equal_steps", "equal_seconds", "equal_operations", "four_stems")
DECIMALS = 4


def collect(songs: Path, runs: Path) -> None:
    """Write the tables of all grids in a folder of runs."""
    torch.set_num_threads(1)
    facts: list[dict[str, Any]] = []
    shares: list[dict[str, Any]] = []
    costs: dict[tuple[Any, str], dict[str, float]] = {}  # of stems and variant
    for name in GRIDS:
        if not (runs / name).is_dir():
            continue
        grid = read_grid(HERE / f"{name}.toml")
        stems = grouping_of(load_checkpoint(runs / name / grid.runs[0].folder))
        tracks = [
            track.with_stems(stems) for track in ms.load_dataset(songs, split="test")
        ]
        table = mixture_scores(tracks)
        for run in grid.runs:
            folder = runs / name / run.folder
            model = load_checkpoint(folder)
            table[run.folder.replace("/seed", "/")] = scores(folder, table.index)
            if (stems, run.variant) not in costs:
                costs[stems, run.variant] = cost(model)
            head = {"grid": name, "variant": run.variant, "seed": run.seed}
            facts.append(head | of_run(folder, run) | costs[stems, run.variant])
            shares += [head | row for row in of_fusion(model)]
        table.round(DECIMALS).to_csv(HERE / f"{name}.csv")
    write_rows(facts, HERE / "runs.csv")
    write_rows(shares, HERE / "fusion.csv")


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Replace the rows of these grids in a table, and keep those of other grids."""
    new = pd.DataFrame(rows)
    old = pd.read_csv(path)
    both = pd.concat([old[~old["grid"].isin(new["grid"])], new])
    both["order"] = both["grid"].map(GRIDS.index)
    both = both.sort_values("order", kind="stable").drop(columns="order")
    both.to_csv(path, index=False)


def mixture_scores(tracks: list[Track]) -> pd.DataFrame:
    """A row for each song and stem that is not silent: usdr of the mixture."""
    rows = {}
    for track in tracks:
        mixture = track.mixture()
        for stem, reference in zip(track.stems, track.sources(), strict=True):
            if reference.any():
                score = ms.metrics.usdr(reference=reference, estimate=mixture)
                rows[track.name, stem] = float(score)
    index = pd.MultiIndex.from_tuples(rows, names=["song", "stem"])
    return pd.DataFrame({"mixture": list(rows.values())}, index=index)


def scores(folder: Path, index: pd.MultiIndex) -> list[float]:
    """The usdr of a run for each song and stem of the index."""
    evaluation = load_evaluation(folder / "test")
    return [
        evaluation.by_track("usdr", "model", stem).get(song, float("nan"))
        for song, stem in index
    ]


def of_run(folder: Path, run: GridRun) -> dict[str, Any]:
    """Steps, time and machine of a run, as its manifest has them."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    state = json.loads((folder / "last.json").read_text("utf-8"))["facts"]
    config = run.recipe.config
    machine = manifest["environment"]
    return {
        "steps": state["step"],
        "seconds_of_sound": state["step"] * config.batch_size * config.segment,
        "processor_seconds": round(3600 * manifest["processor_hours"], 1),
        "processor": machine["processor"],
        "cores": machine["cores"],
    }


def cost(model: torch.nn.Module) -> dict[str, float]:
    """What a model costs for one segment; time is that of one core, without waiting."""
    found = measure(model)
    config = config_of(model)
    segment = round(config.segment * config.sample_rate)
    mixture = 0.1 * torch.randn(1, config.channels, segment)
    spent = []
    with eval_mode(model), torch.no_grad():
        for _ in range(5):
            started = time.process_time()
            model(mixture)
            spent.append(time.process_time() - started)
    return {
        "parameters": found.n_parameters,
        "gflop_per_second": round(found.flops / 1e9, 3),
        "memory_mb": round(found.memory_bytes / 1e6, 1),
        "processor_factor": round(min(spent) / config.segment, 4),
        "latency_seconds": round(found.latency_seconds, 3),
    }


def of_fusion(model: torch.nn.Module) -> list[dict[str, Any]]:
    """A row for each stem and window; none for a model without such weights."""
    try:
        found = fusion_shares(model)
    except InputError:
        return []
    return [
        {"stem": stem, "n_fft": n_fft, "share": round(share, 5)}
        for stem, row in found.items()
        for n_fft, share in row.items()
    ]


if __name__ == "__main__":
    collect(*map(Path, sys.argv[1:]))
