"""The budget of computing time: what counts, when a run ends, and how it goes on."""

import json

import pytest
import torch

from mssedu.data.track import Track
from mssedu.errors import InputError
from mssedu.models.registry import create_model
from mssedu.training.budget import Stopwatch, check_budget
from mssedu.training.config import TrainConfig
from mssedu.training.energy import energy_joules
from mssedu.training.loop import fit
from mssedu.training.optimizers import learning_rate_at
from mssedu.weights.checkpoint import read_checkpoint

STEMS = ("hum", "hiss")
CONFIG = TrainConfig(
    model="open_unmix",
    preset="tiny",
    steps=100_000,
    budget_seconds=1.5,
    batch_size=1,
    segment=0.3,
    schedule="cosine",
    valid_every=10_000,
    device="cpu",
)


def song(seed):
    generator = torch.Generator().manual_seed(seed)
    audio = torch.rand(2, 2, 44100, generator=generator) - 0.5
    return Track.from_audio(f"song {seed}", dict(zip(STEMS, audio, strict=True)), 44100)


def network():
    torch.manual_seed(0)
    return create_model(
        "open_unmix", "tiny", STEMS, n_layers=1, hidden=4, wiener_iterations=0
    )


def work(seconds):
    watch = Stopwatch("cpu")
    while watch.spent < seconds:
        torch.rand(1000).sort()
    return watch


def test_a_stopwatch_counts_processor_time_and_goes_on():
    watch = work(0.05)
    facts = watch.facts
    assert facts["processor_seconds"] >= 0.05
    assert facts["wall_seconds"] > 0
    assert "energy_joules" not in facts
    watch.keep(0.2)
    watch.keep(0.1)
    later = Stopwatch("cpu", watch.facts)
    assert later.spent >= 0.05
    assert later.reserve == 0.2
    assert later.is_spent(0.2)
    assert not later.is_spent(100.0)
    assert 0 < later.share(100.0) < later.share(10.0) < 1
    assert later.share(0.01) == 1.0


def test_a_card_counts_the_clock_and_its_energy():
    meter = iter([100.0, 130.0])
    watch = Stopwatch("cuda", {"wall_seconds": 50.0}, lambda: next(meter))
    assert 50.0 <= watch.spent < 51.0
    assert watch.facts["energy_joules"] == 30.0
    assert energy_joules("no card") is None


def test_the_cosine_follows_the_share_that_is_spent():
    config = TrainConfig(steps=100, schedule="cosine", learning_rate=1.0)
    assert learning_rate_at(0, config, 0.5) == pytest.approx(0.5)
    assert learning_rate_at(99, config, 0.0) == 1.0


def test_a_run_ends_when_the_budget_is_spent_and_stays_ended(tmp_path):
    said = []
    result = fit(network(), [song(0)], [song(1)], CONFIG, tmp_path, log=said.append)
    step = result.history[-1]["step"]
    assert 1 < step < CONFIG.steps
    assert result.history[-1]["usdr"] is not None  # the last step was validated
    facts = read_checkpoint(tmp_path / "last.safetensors").facts
    spent = facts["time"]["processor_seconds"]
    assert 1.0 < spent < 2.5
    manifest = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    assert manifest["finished"] is True
    assert manifest["steps"] == step
    assert manifest["processor_hours"] == pytest.approx(spent / 3600, abs=1e-4)
    again = fit(network(), [song(0)], [song(1)], CONFIG, tmp_path, resume=True)
    assert again.history == result.history


def test_the_learning_rate_of_a_run_falls_with_its_budget(tmp_path):
    fit(network(), [song(0)], None, CONFIG, tmp_path)
    last = json.loads((tmp_path / "history.jsonl").read_text("utf-8").splitlines()[-1])
    assert last["learning_rate"] < 0.05 * CONFIG.learning_rate


def test_what_a_budget_excludes():
    with pytest.raises(InputError, match="budget_seconds must be greater than 0"):
        TrainConfig(budget_seconds=0)
    workers = TrainConfig(budget_seconds=9, n_workers=2)
    with pytest.raises(InputError, match="Set n_workers to 0"):
        check_budget(workers, "cpu")
    check_budget(workers, "cuda")
    with pytest.raises(InputError, match="train together"):
        check_budget(TrainConfig(budget_seconds=9), "cpu", 2)
    check_budget(TrainConfig(n_workers=2), "cpu", 2)
