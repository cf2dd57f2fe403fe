"""A line every so many seconds: its numbers are those of the steps since the last."""

import dataclasses
import math

import pytest
import torch

from mssedu.training import pace as module
from mssedu.training.config import TrainConfig
from mssedu.training.loop import fit
from mssedu.training.pace import Pace, in_words
from tests.training.test_gates import CONFIG, model, song


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "peak_memory_mb", lambda device: 5200.0)
    return now


def test_a_line_sums_up_the_steps_since_the_last_one(clock):
    config = TrainConfig(log_seconds=10, batch_size=4)
    pace, lines = Pace(config, torch.device("cpu")), []
    for step in range(1, 41):
        clock[0] += 1.0  # a quarter of it for data
        pace.step(math.nan if step == 5 else 2.0, 0.25, 0.75)
        lines.append(pace.line(step, 100))
    written = [(n, line) for n, line in enumerate(lines, 1) if line]
    assert [n for n, _ in written] == [10, 20, 30, 40]
    assert written[0][1] == (
        "step 10 of 100: loss 2, 1 s/step, 4 examples/s, 25% of the time waiting for "
        "data, peak memory 5.2 GB, 2 min left"
    )
    assert written[3][1].endswith("1 min left")


def test_no_line_is_written_without_a_step_or_if_none_is_wanted(clock):
    pace = Pace(TrainConfig(log_seconds=10), torch.device("cpu"))
    clock[0] += 60
    assert pace.line(0, 10) is None
    pace = Pace(TrainConfig(log_seconds=0), torch.device("cpu"))
    pace.step(1.0, 0.1, 0.1)
    clock[0] += 60
    assert pace.line(1, 10) is None


def test_skipped_steps_alone_have_no_loss(clock):
    pace = Pace(TrainConfig(log_seconds=1), torch.device("cpu"))
    pace.step(math.nan, 0.1, 0.1)
    clock[0] += 2
    assert "loss none" in pace.line(1, 10)


def test_hours_are_written_as_such():
    assert [in_words(s) for s in (3599, 3600, 90000)] == ["1 h 0 min"] * 2 + [
        "25 h 0 min"
    ]


def test_a_run_writes_the_line_into_its_log(tmp_path):
    lines = []
    config = dataclasses.replace(CONFIG, steps=3, batch_size=2, log_seconds=1e-6)
    fit(model(), [song()], None, config, tmp_path, log=lines.append)
    paced = [line for line in lines if "s/step" in line]
    assert [line.partition(":")[0] for line in paced] == [
        f"step {n} of 3" for n in (1, 2, 3)
    ]
