"""Six small models, one budget: what each learns in 20 s of one processor core.

    python benchmarks/six_models.py                          about ten minutes
    python benchmarks/six_models.py --models spleeter --budget 5 --seeds 0 --out FILE

Each model has its preset "tiny" and learns drums and rest from four of the songs in
data/, three times, with seeds 0, 1 and 2. All have the same loss, the same segments and
the same processor time. A step of one model takes longer than a step of another, so the
budget is turned into a number of steps, which is written down; with it, a run can be
repeated. The learning rate of a model is the one of RATES whose short run separates the
validation song better. The test song is used once, at the end of each run.

Rewrites six_models.json, which notebook 15 reads, and a section of RESULTS.md.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import torch
from results import processor, write_section
from torch import nn

import mssedu
from mssedu.data.track import Track
from mssedu.evaluation.statistics import mean_interval

RESULTS = Path(__file__).with_name("six_models.json")
MODELS = ("spleeter", "open_unmix", "conv_tasnet", "demucs", "htdemucs", "bs_roformer")
STEMS = ("drums", "rest")
RATES = (1e-3, 3e-3)
TRIAL_SHARE = 1 / 3  # of the budget, for a run that tries a learning rate
TRIAL_SEED = 100
SETTINGS: dict[str, Any] = {
    "batch_size": 1,
    "segment": 3.0,
    "loss": "thresholded_snr",
    "schedule": "cosine",
    "warmup_steps": 2,
    "level_db": -25.0,
    "gain_db": (-8.0, 8.0),
}


def songs(split: str) -> list[Track]:
    """The songs in data/ of one split, in memory, with the stems drums and rest."""
    groups = {"drums": ["drums"], "rest": ["vocals", "bass", "other"]}
    found = mssedu.load_dataset(mssedu.data.demo_data(), split)
    return [song.in_memory().with_stems(groups) for song in found]


def train(
    name: str, tracks: Sequence[Track], steps: int, rate: float, seed: int
) -> tuple[nn.Module, float]:
    """A new model after so many steps, and the processor seconds that it took."""
    torch.manual_seed(seed)
    model = mssedu.create_model(name, "tiny", stems=STEMS)
    config = mssedu.training.TrainConfig(
        model=name,
        preset="tiny",
        stems=STEMS,
        steps=steps,
        learning_rate=rate,
        seed=seed,
        device="cpu",
        **SETTINGS,
    )
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        mssedu.fit(model, tracks, None, config, folder)
    return model, time.process_time() - began


def score(model: nn.Module, track: Track) -> dict[str, float]:
    """The usdr of each stem of a whole song, in dB."""
    estimate = mssedu.separate(model, track.mixture())
    usdr = mssedu.metrics.usdr(reference=track.sources(), estimate=estimate)
    return _by_stem(usdr)


def mixture_score(track: Track) -> dict[str, float]:
    """The usdr of the mixture as an estimate of each stem, in dB."""
    sources = track.sources()
    mixture = track.mixture().expand_as(sources)
    usdr = mssedu.metrics.usdr(reference=sources, estimate=mixture)
    return _by_stem(usdr)


def _by_stem(usdr: torch.Tensor) -> dict[str, float]:
    pairs = zip(STEMS, usdr.tolist(), strict=True)
    return {stem: round(value, 3) for stem, value in pairs}


def mean(scores: dict[str, float]) -> float:
    return sum(scores.values()) / len(scores)


def race(name: str, budget: float, seeds: Sequence[int]) -> dict[str, Any]:
    """All runs of one model."""
    tracks, (valid,), (test,) = songs("train"), songs("valid"), songs("test")
    train(name, tracks, 2, RATES[0], TRIAL_SEED)  # warms up
    step = train(name, tracks, 6, RATES[0], TRIAL_SEED)[1] / 6
    steps = max(3, round(budget / step))
    trials = {}
    for rate in RATES:
        short = max(3, round(TRIAL_SHARE * steps))
        model, _ = train(name, tracks, short, rate, TRIAL_SEED)
        trials[rate] = mean(score(model, valid))
        print(f"{name}: rate {rate:g}, {trials[rate]:.2f} dB", flush=True)
    best = max(trials, key=lambda rate: trials[rate])
    runs = []
    for seed in seeds:
        model, seconds = train(name, tracks, steps, best, seed)
        usdr = score(model, test)
        runs.append({"seed": seed, "seconds": round(seconds, 1), "usdr": usdr})
        print(f"{name}: seed {seed}, {seconds:.0f} s, {usdr}", flush=True)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds_per_step": round(step, 3),
        "steps": steps,
        "trials": {f"{rate:g}": round(value, 3) for rate, value in trials.items()},
        "learning_rate": best,
        "runs": runs,
    }


def section(results: dict[str, Any]) -> str:
    """The text of the section of RESULTS.md."""
    lines = [
        "## Six small models after the same computing time",
        "",
        f"`{results['command']}`,",
        f"{results['machine']}, torch {results['torch']}, {results['date']}. Preset",
        f"tiny, stems drums and rest, {results['budget']:g} processor seconds a run",
        f"on one core, {len(results['seeds'])} seeds. usdr in dB on the held-out song",
        f"{results['test']}, mean of both stems: mean of the seeds, and its 95 %",
        "confidence interval. The",
        f"mixture has {mean(results['mixture']):.1f} dB.",
        "",
        "| model | parameters | steps | usdr | interval |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, found in results["models"].items():
        values = [mean(run["usdr"]) for run in found["runs"]]
        middle, half = mean_interval(values) if len(values) > 1 else (values[0], 0.0)
        lines.append(
            f"| {name} | {found['parameters']:,} | {found['steps']} | {middle:.2f} "
            f"| ± {half:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of a run")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    (valid,), (test,) = songs("valid"), songs("test")
    results = {
        "command": " ".join(["python benchmarks/six_models.py", *sys.argv[1:]]),
        "machine": processor(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 1),
        "budget": options.budget,
        "seeds": options.seeds,
        "settings": SETTINGS,
        "stems": STEMS,
        "valid": valid.name,
        "test": test.name,
        "mixture": mixture_score(test),
        "models": {},
    }
    for name in options.models:
        results["models"][name] = race(name, options.budget, options.seeds)
        options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    if options.out == RESULTS:
        write_section("six_models", section(results))


if __name__ == "__main__":
    main()
