"""NaN has a name, its batch is kept, and a model that learns nothing is told so."""

import dataclasses
import errno
import json
import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mssedu.training import loop, sentinels
from mssedu.training.batches import create_segments
from mssedu.training.loop import fit
from mssedu.training.losses import LOSSES, waveform_l1
from mssedu.training.sentinels import (
    does_nothing,
    dump_batch,
    examine,
    first_nonfinite,
    is_flat,
    songs_of,
)
from tests.training.test_gates import CONFIG, model, song

X = torch.ones(2, 3)


class Net(nn.Module):
    """Two layers; `fault` puts NaN or Inf into a place of the second one."""

    def __init__(self, fault=None):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 1)
        self.drop = nn.Dropout(0.5)
        self.fault = fault

    def forward(self, x):
        x = self.drop(self.second(self.first(x)))
        if self.fault == "root":  # finite, with an infinite gradient
            return (x - x.detach()).abs().sqrt() + x
        return x


def found(net, x=X, loss=torch.sum):
    return first_nonfinite(net, x, lambda m: loss(m(x)))


def test_sources_weights_layers_loss_and_gradients_are_told_apart():
    assert found(Net()) is None
    assert found(Net(), X * math.nan) == "the sources of the batch"
    net = Net()
    net.second.weight.data[0, 1] = math.inf
    assert found(net) == "the weights second.weight"
    net = Net()
    net.first.weight.data.fill_(3e38)
    net.second.weight.data.fill_(3e38)
    assert found(net) == "the output of first (Linear)"
    assert found(Net(), loss=lambda y: y.sum() * math.nan) == "the loss"
    where = found(Net("root"))
    assert where == "the gradient at the output of drop (Dropout)"


def test_a_replay_leaves_model_and_random_numbers_alone():
    net = Net("root")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    found(net)
    assert torch.equal(torch.rand(4), expected)
    assert all(p.grad is None for p in net.parameters())
    assert not net._forward_hooks


def test_too_little_memory_for_a_replay_is_no_failure():
    def too_large(model):
        raise torch.OutOfMemoryError

    assert "memory is too small" in first_nonfinite(Net(), X, too_large)

    def broken(model):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes"):
        first_nonfinite(Net(), X, broken)


# ---- the batch ----------------------------------------------------------------------


def test_a_batch_is_kept_with_the_places_of_its_parts(tmp_path):
    segments = create_segments([song(0), song(1)], CONFIG)
    net = model()
    net.networks[1].output.bias.data.fill_(math.inf)
    name = tmp_path / "nan" / "step-3"
    items = range(8, 12)
    text = examine(net, CONFIG, waveform_l1, segments, items, name)
    assert text.startswith("it first appears in the weights networks.1.output.bias, wi")
    assert text.endswith(f"the batch is {name}.safetensors")
    tensors = load_file(f"{name}.safetensors")
    expected = torch.stack([segments[item].sources for item in items])
    assert torch.equal(tensors["sources"], expected)
    assert tensors["present"].all()
    document = json.loads(name.with_suffix(".json").read_text("utf-8"))
    assert document["seed"] == CONFIG.seed
    assert [item["item"] for item in document["items"]] == [*items]
    first = document["items"][0]["parts"][0]
    assert first["part"] == "hum"
    assert f"{first['track']} at {first['seconds']:.2f} s" in text
    audio = song(int(first["track"][-1])).stem("hum", first["seconds"], CONFIG.segment)
    either = (audio * first["factor"], audio.flip(0) * first["factor"])
    assert any(torch.allclose(tensors["sources"][0, 0], one) for one in either)


def test_a_folder_takes_five_batches_and_a_full_disk_none(tmp_path, monkeypatch):
    segments = create_segments([song()], CONFIG)
    batch = segments[0]
    paths = [
        dump_batch(tmp_path / f"step-{n}", batch, segments, [0], "the loss")
        for n in range(7)
    ]
    assert [path is None for path in paths] == 5 * [False] + 2 * [True]

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sentinels, "write_text", full)
    assert dump_batch(tmp_path / "b" / "x", batch, segments, [0], "the loss") is None

    def broken(path, text):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sentinels, "write_text", broken)
    with pytest.raises(OSError, match="Input/output"):
        dump_batch(tmp_path / "c" / "x", batch, segments, [0], "the loss")


def test_many_songs_are_counted():
    config = dataclasses.replace(CONFIG, segment=0.01)
    segments = create_segments([song(n) for n in range(4)], config)
    assert songs_of(segments, range(20)).endswith(" more")


def test_a_run_names_the_layer_and_keeps_the_batch(tmp_path, monkeypatch):
    def poisoned(*, estimate, reference):
        value = waveform_l1(estimate=estimate, reference=reference)
        return value * (math.nan if is_bad else 1.0)

    is_bad, lines = False, []
    real = loop._step

    def step(state, batch, loss):
        nonlocal is_bad
        is_bad = state.step == 2
        return real(state, batch, loss)

    monkeypatch.setitem(LOSSES, "waveform_l1", poisoned)
    monkeypatch.setattr(loop, "_step", step)
    config = dataclasses.replace(CONFIG, steps=4, batch_size=2)
    result = fit(model(), [song()], None, config, tmp_path, log=lines.append)
    assert result.n_skipped == 1
    (line,) = [line for line in lines if "skipped" in line]
    assert "step 3 skipped" in line
    assert "it first appears in the loss, with song 0 at " in line
    assert (tmp_path / "nan" / "step-3.safetensors").exists()


# ---- a model that does not learn ----------------------------------------------------


def test_scores_of_the_mixture_and_of_silence_are_recognized():
    tables = {
        "mixture": torch.tensor([[-5.0, math.nan], [-3.0, 2.0]]),
        "silence": torch.zeros(2, 2),
    }
    near = tables["mixture"] + 0.1
    assert does_nothing(near, tables) == "mixture"
    assert does_nothing(torch.full((2, 2), -0.1), tables) == "silence"
    assert does_nothing(near + 1, tables) is None
    # The same mean as the mixture, with other scores, is another estimate.
    other = torch.tensor([[-1.0, math.nan], [-1.0, -4.0]])
    assert does_nothing(other, tables) is None
    assert does_nothing(near, {}) is None


@pytest.mark.parametrize(
    ("losses", "flat"),
    [
        ([1.0, 1.0], False),  # too early
        ([1.0, 0.999, 1.001], True),
        ([1.0, 0.9, 1.0], False),
        ([-2.0, -2.01, -2.0], True),
        ([-2.0, -2.5, -2.0], False),
        ([None, 1.0, 1.0, None, 1.0], True),
        ([None, None, None], False),
    ],
)
def test_a_loss_that_never_fell_is_flat(losses, flat):
    assert is_flat([{"loss": loss} for loss in losses]) == flat


def test_the_log_says_that_nothing_is_learned(tmp_path, monkeypatch):
    def constant(*, estimate, reference):
        return 0 * estimate.sum() + 1

    lines = []
    monkeypatch.setitem(LOSSES, "waveform_l1", constant)
    monkeypatch.setattr(loop, "validate", lambda *_: torch.zeros(1, 2))
    config = dataclasses.replace(CONFIG, steps=3, valid_every=1)
    fit(model(), [song()], [song(1)], config, tmp_path, log=lines.append)
    text = " ".join(lines)
    assert "the loss has not fallen since the start" in text
    assert "the scores are those of silence: the model outputs nothing" in text
