"""Two processes train as one: same loss, same weights, one stop, one record."""

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mssedu.audio.tensors import save_audio
from mssedu.errors import InputError, SetupError
from mssedu.training import distributed as together
from mssedu.training.config import TrainConfig
from mssedu.weights.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
RATE = 8000
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
TORCHRUN += ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")


def started(*words, ok=True):
    """Output of a program that must end well (or must not)."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=500
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout if ok else done.stdout + done.stderr


# ---- one process --------------------------------------------------------------------


def test_a_process_alone_has_everything():
    tensor = torch.tensor([[1.0], [math.nan]])
    with together.joined(TrainConfig(device="cpu")):
        assert (together.process_number(), together.n_processes()) == (0, 1)
        assert together.is_first()
        assert together.suffix() == ""
        assert together.own(range(2, 9)) == range(2, 9)
        assert together.part_of(3) == 3
        assert together.largest(-2.5) == -2.5
        assert together.of_first("a") == "a"
        assert together.of_all("a") == ["a"]
        assert together.gathered(tensor, 2) is tensor
        together.raise_together(None)
        with pytest.raises(InputError, match="broken"):
            together.raise_together(InputError("broken"))
        torch.manual_seed(5)
        together.seed_step(0, 3)  # draws on, as if it had not been called
        assert torch.initial_seed() == 5
        layer = torch.nn.BatchNorm1d(2)
        together.join_batch_norm(layer)
        assert type(layer) is torch.nn.BatchNorm1d
        together.share_weights(layer)
        together.wait_for_all()


@pytest.fixture
def two(monkeypatch):
    """The environment of the first of two processes, which nothing else starts."""
    for name in together.ENVIRONMENT:
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"device": "cuda:1"}, "device must be auto, cpu or cuda with 2 processes"),
        ({"device": "mps"}, "got 'mps'"),
        ({"budget_seconds": 9.0}, "budget_seconds is for one process, and there are 2"),
    ],
)
def test_what_two_processes_cannot_do_is_refused(two, changes, text):
    config = dataclasses.replace(TrainConfig(device="cpu"), **changes)
    with pytest.raises(InputError, match=text), together.joined(config):
        pass


def test_a_batch_must_be_shared_evenly(monkeypatch):
    monkeypatch.setattr(together, "n_processes", lambda: 4)
    assert together.part_of(8) == 2
    with pytest.raises(InputError, match=r"multiple .* 6 for 4 .*--batch-size 8"):
        together.part_of(6)


def test_each_process_divides_its_part_of_a_batch_evenly(monkeypatch):
    monkeypatch.setattr(together, "n_processes", lambda: 2)
    together.check_parts(TrainConfig(batch_size=8, accumulate=4))
    for batch_size, accumulate in ((4, 4), (12, 4)):  # 2 and 6 segments each
        config = TrainConfig(batch_size=batch_size, accumulate=accumulate)
        with pytest.raises(InputError, match=f"takes {batch_size // 2} .* got 4"):
            together.check_parts(config)


def test_each_process_needs_a_card(two, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    config = TrainConfig(device="cuda")
    text = "process 1 .* has no CUDA device: PyTorch sees 1.*--nproc-per-node 1"
    with pytest.raises(SetupError, match=text), together.joined(config):
        pass


# ---- two processes ------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_agree(tmp_path):
    text = started(*TORCHRUN, "tests/training/two_processes.py", str(tmp_path))
    first, second = json.loads(text.splitlines()[-1])
    for name, error in first["batch_norm"].items():
        assert error < 1e-5, name
    a, b = first["collectives"], second["collectives"]
    assert (a["own"], b["own"]) == ([2, 4, 6, 8], [3, 5, 7, 9])
    assert a["drawn"] != b["drawn"]
    for name in ("largest", "first", "all", "gathered", "failed", "part"):
        assert a[name] == b[name]
    assert (a["largest"], a["first"], a["all"]) == (1.0, ["process", 0], [0, 1])
    assert a["gathered"] == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert (a["failed"], a["part"]) == ("broken", 3)
    for nan, kept, loss, kept_again in (first["nan"], second["nan"]):
        assert math.isnan(nan)  # in both, though only one has NaN in its data
        assert kept
        assert math.isfinite(loss)
        assert not kept_again
    assert first["scores"] == second["scores"]
    expected = torch.tensor(first["alone"])
    torch.testing.assert_close(torch.tensor(first["scores"]), expected)
    assert (first["signal"]["code"], second["signal"]["code"]) == (143, 143)
    (line,) = first["signal"]["log"]
    assert line.startswith("stopped after step 3, state saved; to go on: mssedu train")
    assert second["signal"]["log"] == []
    facts = read_checkpoint(tmp_path / "stopped" / "last.safetensors").facts
    assert facts["step"] == 3


@pytest.fixture
def songs(tmp_path):
    """Two songs for training and three for validation, on the disk."""
    generator = torch.Generator().manual_seed(0)
    for folder, names in (("train", "ab"), ("valid", "cde")):
        for name in names:
            for stem in ("vocals", "other"):
                audio = 0.1 * torch.randn(2, RATE // 2, generator=generator)
                path = tmp_path / "songs" / folder / name / f"{stem}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                save_audio(path, audio, RATE)
    return tmp_path / "songs"


FLAGS = ("--model", "spleeter", "--preset", "tiny", "--stems", "vocals", "other")
FLAGS += ("--steps", "6", "--batch-size", "4", "--segment", "0.1", "--valid-every", "3")
FLAGS += ("--ema-decay", "0.9", "--device", "cpu", "--log-seconds", "0")
FIELDS = ("sample_rate=8000", "n_fft=64", "hop_length=16", "bins=32", "frames=16")
FIELDS += ("filters=2,2", "dropout=0")


def trained(songs, run_dir, *more, start=(sys.executable,)):
    words = (*start, "-m", "mssedu", "train", str(songs), *FLAGS, *more)
    return started(*words, "--run-dir", str(run_dir), "--set", *FIELDS)


def history(run_dir):
    lines = (run_dir / "history.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def largest_difference(run_dir, other):
    one, two = (
        read_checkpoint(folder / "last.safetensors") for folder in (run_dir, other)
    )
    a, b = {**one.weights, **one.tensors}, {**two.weights, **two.tensors}
    assert a.keys() == b.keys()
    return max(
        float((a[name].double() - b[name].double()).abs().max())
        for name in a
        if not name.startswith("rng/")
    )


@pytest.mark.slow
def test_torchrun_trains_what_one_process_trains(songs, tmp_path):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    trained(songs, alone)
    text = trained(songs, shared, "--steps", "3", start=TORCHRUN)
    assert text.count("step 3: loss") == 1  # one process logs
    shutil.copytree(shared, tmp_path / "copy")
    more = ("--resume", "auto", "--allow-config-change")
    text = trained(songs, shared, *more, start=TORCHRUN)
    assert "the command differs" not in text  # the same --set again is no change
    for a, b in zip(history(alone), history(shared), strict=True):
        assert a["step"] == b["step"]
        for name in ("loss", "usdr", "valid_loss"):
            assert a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-5)
    assert largest_difference(alone, shared) < 1e-4
    trained(songs, tmp_path / "copy", *more)  # one process goes on for two
    assert largest_difference(shared, tmp_path / "copy") < 1e-4
