"""Kill a training run at random moments, and compare it with one that was not killed.

    python benchmarks/kills.py                     30 kills, about a minute
    python benchmarks/kills.py --kills 300         a longer test

Each run trains a Spleeter of a few hundred weights with dropout, running averages, a
falling learning rate and validations, and saves its state after every step, so that
many kills fall into a save. SIGKILL ends it at a random moment from its start on; it
then goes on with resume="auto" until it is killed again or done. All its files must
equal those of a run in one piece, bit by bit: weights, averages, the memory of the
optimizer, random state, history and best weights. Only the seconds in them differ.

Prints one line of JSON. The exit code is 1 if a run differs. Runs on Linux and macOS.
"""

import argparse
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import torch

from mssedu.data.track import Track
from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.loop import fit

RATE, STEMS = 8000, ("hum", "hiss")
SIZES = {"n_fft": 64, "hop_length": 16, "bins": 32, "frames": 16, "filters": (2, 2)}
CONFIG = TrainConfig(
    stems=STEMS,
    preset="tiny",
    batch_size=2,
    segment=0.05,
    learning_rate=1e-2,
    warmup_steps=2,
    schedule="cosine",
    ema_decay=(0.9, 0.99),
    save_every=1,
    device="cpu",
)
# Facts that no seed fixes: seconds, and the hash of a file with its random header
TIMES = ("waiting_seconds", "computing_seconds", "time", "sha256")


def song(seed: int) -> Track:
    """Three tenths of a second: a hum against noise."""
    time = torch.arange(int(0.3 * RATE)) / RATE
    hum = 0.3 * torch.sin(2 * math.pi * (80 + 20 * seed) * time).expand(2, -1)
    noise = torch.randn(hum.shape, generator=torch.Generator().manual_seed(seed))
    return Track.from_audio(f"song {seed}", {"hum": hum, "hiss": 0.1 * noise}, RATE)


def train(folder: Path, config: TrainConfig) -> None:
    """Begin a run, or go on with it."""
    torch.manual_seed(config.seed)
    model = create_model(
        "spleeter", "tiny", STEMS, sample_rate=RATE, dropout=0.2, **SIZES
    )
    fit(model, [song(0), song(1)], [song(2)], config, folder, resume="auto")


def start(folder: Path, config: TrainConfig) -> int:
    """Train in a process of its own, a copy of this one; returns its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        train(folder, config)
        code = 0
    finally:
        os._exit(code)


def ended_well(process: int) -> bool:
    """Wait for a process; False if it was killed. An error of its own ends this one."""
    _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit("a run ended with an error, see above")
    return os.WIFEXITED(status)


def content(folder: Path) -> dict[str, Any]:
    """What must be the same in two folders."""
    files: dict[str, Any] = {}
    for name in ("last", "best"):
        files[f"{name}.safetensors"] = tensors(folder / f"{name}.safetensors")
        document = json.loads((folder / f"{name}.json").read_text("utf-8"))
        files[f"{name}.json"] = timeless(document)
    lines = (folder / "history.jsonl").read_text("utf-8").splitlines()
    files["history.jsonl"] = [timeless(json.loads(line)) for line in lines]
    return files


def tensors(path: Path) -> tuple[dict[str, Any], bytes]:
    """Names, types and places of the tensors of a file, and all their bytes.

    The header is JSON, and the order of its facts about the file is random.
    """
    data = path.read_bytes()
    n = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:n]), data[n:]


def timeless(value: Any) -> Any:
    """JSON without the seconds that something took."""
    if isinstance(value, dict):
        return {n: timeless(v) for n, v in value.items() if n not in TIMES}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def killed_run(
    folder: Path, config: TrainConfig, chance: random.Random, seconds: float, most: int
) -> dict[str, int]:
    """A run that is killed at random moments, at most so many times; what they met."""
    met = {"kills": 0, "before_a_state": 0, "in_a_save": 0}
    while True:
        process = start(folder, config)
        if met["kills"] < most:
            time.sleep(chance.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
        if ended_well(process):
            return met
        met["kills"] += 1
        met["before_a_state"] += not (folder / "last.json").exists()
        met["in_a_save"] += any(folder.glob(".mssedu-*"))


def main() -> None:
    """Kill runs until there are enough kills; print what they met, and the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chance, found = random.Random(options.seed), []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        while sum(run["kills"] for run in found) < options.kills:
            config = changed(options.steps, seed=len(found))
            whole, parts = (
                Path(temporary) / f"{len(found)}-{name}" for name in ("whole", "parts")
            )
            before = time.monotonic()
            ended_well(start(whole, config))
            seconds = time.monotonic() - before
            left = options.kills - sum(run["kills"] for run in found)
            run = killed_run(parts, config, chance, seconds, left)
            a, b = content(whole), content(parts)
            run["files_that_differ"] = [name for name in a if a[name] != b[name]]
            found.append(run)
    total = {
        name: sum(run[name] for run in found)
        for name in ("kills", "before_a_state", "in_a_save")
    }
    differing = [name for run in found for name in run["files_that_differ"]]
    total |= {"runs": len(found), "steps": options.steps, "differ": differing}
    total["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(total))
    sys.exit(bool(differing))


def changed(steps: int, seed: int) -> TrainConfig:
    """The config of a run."""
    return replace(CONFIG, steps=steps, seed=seed, valid_every=max(steps // 3, 1))


if __name__ == "__main__":
    main()
