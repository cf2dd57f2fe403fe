"""Gates before the first step: each finds a fault that was put there on purpose."""

import copy
import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mssedu.data.segments import Segment
from mssedu.data.track import Track
from mssedu.errors import CheckpointError, InputError, MssEduError, SetupError
from mssedu.models.registry import create_model
from mssedu.training import gates
from mssedu.training.batches import create_segments
from mssedu.training.config import TrainConfig
from mssedu.training.gates import (
    Overfit,
    check_memory,
    check_round_trip,
    largest_batch,
    overfit_config,
    rehearse,
)
from mssedu.training.loop import fit
from mssedu.training.losses import LOSSES, waveform_l1
from mssedu.training.runs import read_run
from mssedu.training.state import TrainState
from mssedu.training.step import batch_loss, train_step
from mssedu.weights.checkpoint import read_checkpoint

RATE, STEMS = 8000, ("hum", "hiss")
CONFIG = TrainConfig(
    stems=STEMS, preset="tiny", steps=100, batch_size=4, segment=0.1, device="cpu"
)


def song(seed=0, seconds=0.5):
    generator = torch.Generator().manual_seed(seed)
    audio = torch.randn(2, 2, int(seconds * RATE), generator=generator) / 10
    return Track.from_audio(f"song {seed}", dict(zip(STEMS, audio, strict=True)), RATE)


def model():
    sizes = {"n_fft": 64, "hop_length": 16, "bins": 32, "frames": 16, "filters": (2, 2)}
    return create_model("spleeter", "tiny", STEMS, sample_rate=RATE, **sizes)


def gate(net, config=CONFIG, loss=waveform_l1, valid=None):
    """The lines that `rehearse` logs, with real steps."""
    lines = []

    def trainer(copied):
        state = TrainState(copied.train(), config)

        def step(batch):
            sources, optimizer = batch.sources, state.optimizer
            return float(train_step(copied, sources, optimizer, config, loss))

        return step

    rehearse(
        net,
        create_segments([song()], config),
        valid,
        config,
        loss_of=lambda m, b: batch_loss(m, b.sources, config, loss, b.present),
        trainer=trainer,
        is_new=True,
        log=lines.append,
    )
    return lines


def test_a_rehearsal_changes_nothing_and_says_what_the_run_costs():
    net = model()
    before = copy.deepcopy(net.state_dict())
    (line,) = gate(net, valid=[song(1), song(2, 1.0)])
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert line.startswith("a step takes ")
    assert "100 steps" in line
    assert "an epoch of 2 steps" in line  # 0.5 s of songs, 4 × 0.1 s a step
    assert "; a validation " in line


def test_chunks_longer_than_the_examples_are_told():
    net = create_model("open_unmix", "tiny", STEMS, sample_rate=RATE, segment=0.25)
    _, hint = gate(net)
    assert hint.startswith("the model separates chunks of 0.25 s and learns from 0.1 s")
    assert hint.endswith("set model.segment=0.1")
    net = create_model("open_unmix", "tiny", STEMS, sample_rate=RATE, segment=0.1)
    assert len(gate(net)) == 1


def test_the_costs_are_those_of_the_clock(monkeypatch):
    now = [10.0]

    def validate(net, tracks, stems):
        assert [track.name for track in tracks] == ["song 1"]  # the shortest one
        now[0] += 3.0

    def step(*_):
        now[0] += 2.0
        return torch.ones(())

    monkeypatch.setattr(gates.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(gates, "validate", validate)
    monkeypatch.setattr("tests.training.test_gates.train_step", step)
    (line,) = gate(model(), valid=[song(2, 1.0), song(1)])
    assert line.startswith("a step takes 2 s, 100 steps 3 min, an epoch of 2 steps 4.")
    assert "a validation 9.00 s" in line  # 0.5 s of music took 3 s; all have 1.5 s


def test_each_average_of_the_weights_costs_a_validation(monkeypatch):
    monkeypatch.setattr(gates, "_measured_validation", lambda *_: 2.0)
    config = dataclasses.replace(CONFIG, ema_decay=(0.9, 0.99, 0.999))
    (line,) = gate(model(), config, valid=[song(1)])
    assert "a validation 6.00 s" in line


def test_a_first_batch_of_nan_names_the_layer():
    net = model()
    net.networks[0].output.bias.data.fill_(math.nan)
    text = r"first batch .* first appears in the weights networks\.0\.output\.bias"
    with pytest.raises(InputError, match=text):
        gate(net)
    with pytest.raises(InputError, match=r"first batch .* first appears in the loss"):
        gate(model(), loss=lambda **pair: waveform_l1(**pair) * math.nan)


class OneValue(nn.Module):
    """Batch norm over one value per example."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(
            stems=STEMS, sample_rate=RATE, channels=2, segment=0.1
        )
        self.norm = nn.BatchNorm1d(2)

    def forward(self, mixture):
        gain = self.norm(mixture.mean(-1)).sigmoid()
        estimate = mixture.unsqueeze(1) * gain[:, None, :, None]
        return estimate.expand(-1, len(STEMS), -1, -1)


def test_batch_norm_of_one_value_is_refused_with_the_way_out():
    config = dataclasses.replace(CONFIG, batch_size=1)
    with pytest.raises(InputError, match=r"batch norm .* more than one .*batch-size 2"):
        gate(OneValue(), config)
    assert gate(OneValue())


# ---- memory -------------------------------------------------------------------------


def loss_of(net, batch):
    return waveform_l1(estimate=net(batch.sources.sum(1)), reference=batch.sources)


def test_a_batch_beyond_the_memory_is_told_with_the_largest_that_fits(monkeypatch):
    net, batch = model(), Segment(torch.rand(8, 2, 2, 800), torch.ones(8, 2).bool())
    with gates.counted_bytes() as kept:
        loss_of(copy.deepcopy(net).train(), Segment(batch.sources[:1], batch.present))
    weights = sum(p.numel() * 4 for p in net.parameters())
    one = sum(kept.values()) - weights
    free = 4 * weights + 3.5 * one
    monkeypatch.setattr(gates, "free_memory", lambda device: int(free))
    with pytest.raises(SetupError, match=r"a batch of 8 needs .* --batch-size 3 or le"):
        check_memory(net, batch, loss_of)
    check_memory(net, Segment(batch.sources[:3], batch.present[:3]), loss_of)
    monkeypatch.setattr(gates, "free_memory", lambda device: None)  # not known
    check_memory(net, batch, loss_of)


def test_the_memory_is_that_of_the_examples_at_the_same_time(monkeypatch):
    n_examples = []

    def check(model, batch, loss_of):
        n_examples.append((len(batch.sources), len(batch.present)))

    monkeypatch.setattr(gates, "check_memory", check)
    for accumulate in (1, 2, 4):
        gate(model(), dataclasses.replace(CONFIG, batch_size=4, accumulate=accumulate))
    assert n_examples == [(4, 4), (2, 2), (1, 1)]


def test_what_is_kept_grows_with_the_batch():
    sizes = []
    for n in (1, 2, 4):
        batch = Segment(torch.rand(n, 2, 2, 800), torch.ones(n, 2).bool())
        with gates.counted_bytes() as kept:
            loss_of(model(), batch)
        sizes.append(sum(kept.values()))
    first, second, fourth = sizes
    assert fourth - second == pytest.approx(2 * (second - first), rel=0.02)


@pytest.mark.parametrize("limit", [0, 1, 3, 7, 8, 20, 21, 100, 255, 256, 10**6])
@pytest.mark.parametrize("first", [1, 4, 8, 24])
def test_the_largest_batch_is_found_to_an_eighth(limit, first):
    tried = []

    def fits(n):
        tried.append(n)
        return n <= limit

    found = largest_batch(fits, first, 256)
    assert found <= min(limit, 256)
    assert found >= min(limit, 256) * 7 / 8 - 1
    assert bool(found) == bool(limit)
    assert max(tried) <= 256
    assert len(tried) < 16


def test_the_largest_batch_of_a_card_is_told():
    limits = [9]

    def trainer(copied):
        def step(batch):
            assert len(batch.sources) == len(batch.present)
            if len(batch.sources) > limits[-1]:
                raise torch.OutOfMemoryError
            return 1.0

        return step

    lines, batch = [], Segment(torch.rand(4, 2, 2, 8), torch.ones(4, 2).bool())
    gates.log_largest_batch(model(), batch, trainer, lines.append)
    limits.append(10**6)
    gates.log_largest_batch(model(), batch, trainer, lines.append)
    text = "largest batch that fits into the memory of the card: "
    assert lines == [f"{text}9", f"{text}at least 256"]

    def broken(copied):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes"):
        gates.log_largest_batch(model(), batch, broken, lines.append)


# ---- round trip ---------------------------------------------------------------------


class Forgetful(nn.Module):
    """Its output depends on a number that is in no checkpoint."""

    made = 0

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layer = nn.Conv1d(2, 2 * len(config.stems), 1)
        Forgetful.made += 1
        self.gain = float(Forgetful.made)

    def forward(self, mixture):
        return self.gain * self.layer(mixture).unflatten(1, (-1, 2))


def test_a_model_comes_back_and_leaves_nothing(tmp_path):
    net = model()
    check_round_trip(net, tmp_path, song().mixture(), print)
    assert net.training
    assert not list(tmp_path.iterdir())


def test_what_a_checkpoint_lacks_is_found(tmp_path, monkeypatch):
    net = Forgetful(model().config)
    monkeypatch.setattr(gates, "save_checkpoint", lambda path, model: path)
    written = SimpleNamespace(weights=net.state_dict())
    monkeypatch.setattr(gates, "read_checkpoint", lambda path: written)
    with pytest.raises(CheckpointError, match="another output"):
        check_round_trip(net, tmp_path, song().mixture(), print)


def test_weights_that_come_back_changed_are_found(tmp_path, monkeypatch):
    def read(path):
        weights = {n: t.clone() for n, t in net.state_dict().items()}
        weights["networks.0.output.bias"] += 1
        return SimpleNamespace(weights=weights)

    net = model()
    monkeypatch.setattr(gates, "read_checkpoint", read)
    with pytest.raises(CheckpointError, match=r"differ in 1 .* networks\.0\.output\.b"):
        check_round_trip(net, tmp_path, song().mixture(), print)
    assert not list(tmp_path.iterdir())


# ---- a few examples by heart --------------------------------------------------------


def test_few_steps_and_no_schedule():
    config = TrainConfig(overfit=2, steps=9000, schedule="cosine", early_stop=5)
    config = overfit_config(config)
    assert (config.steps, config.schedule, config.early_stop) == (300, "constant", 0)
    assert overfit_config(CONFIG) is CONFIG


def test_the_loss_must_fall_enough():
    lines = []
    overfit = Overfit(overfit_config(TrainConfig(overfit=1)), lines.append)
    assert not overfit.is_done(1, 0.8)
    assert not overfit.is_done(2, math.nan)
    assert not overfit.is_done(3, 0.41)
    assert overfit.is_done(4, 0.4)
    assert lines == [
        "the model learns: the loss of 1 example went from 0.8 to 0.4 in 4 steps"
    ]
    config = overfit_config(TrainConfig(overfit=1, loss=("si_sdr_loss",)))
    overfit = Overfit(config, lines.append)
    assert not overfit.is_done(1, 2.0)
    assert not overfit.is_done(2, -3.9)
    assert overfit.is_done(3, -4.0)


def test_losses_in_db_are_named_as_they_are():
    assert {*gates.DB_LOSSES} <= LOSSES.keys()


def test_a_model_that_learns_one_example_ends_early(tmp_path):
    lines = []
    config = dataclasses.replace(CONFIG, overfit=1, learning_rate=0.03, batch_size=2)
    time = torch.arange(RATE // 2) / RATE
    hum = 0.3 * torch.sin(2 * math.pi * 200 * time).expand(2, -1)
    hiss = 0.3 * torch.sin(2 * math.pi * 3000 * time).expand(2, -1)
    tones = Track.from_audio("tones", {"hum": hum, "hiss": hiss}, RATE)
    result = fit(model(), [tones], None, config, tmp_path, log=lines.append)
    assert read_checkpoint(result.checkpoint).facts["step"] == result.step > 1
    assert any(line.startswith("the model learns: the loss of 1 ex") for line in lines)
    assert result.score is None
    assert read_run(tmp_path)["train_config"]["overfit"] == 1


def test_a_model_that_cannot_learn_is_an_error(tmp_path):
    config = dataclasses.replace(CONFIG, overfit=2, steps=5, learning_rate=1e-9)
    text = r"cannot learn 2 examples by heart: in 5 steps .* fall by the factor 2"
    with pytest.raises(MssEduError, match=text):
        fit(model(), [song()], [song(1)], config, tmp_path)


def test_a_model_changed_in_memory_is_noted_and_not_refused(tmp_path):
    net = create_model("spleeter", "tiny").eval()
    net.forward = lambda mixture: mixture[:, None].expand(-1, 4, -1, -1)
    lines = []
    check_round_trip(net, tmp_path, song().mixture(), lines.append)
    (line,) = lines
    assert line.startswith("Spleeter was changed after it was built")
