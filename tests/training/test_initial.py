"""Weights to begin from: equal sums of stems, a table of the rest, frozen parts."""

import dataclasses

import pytest
import torch
from torch import nn

from mssedu.errors import CheckpointError, InputError
from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.initial import (
    Origin,
    agreement,
    freeze,
    start_from,
    summary,
    train_mode,
    transfer,
)
from mssedu.training.loop import fit
from mssedu.weights.checkpoint import load_checkpoint, save_checkpoint
from mssedu.weights.ensemble import Bag
from tests.training.test_loop import CONFIG, TRAIN, VALID, weights
from tests.training.test_loop import model as spleeter

FOUR = ("vocals", "drums", "bass", "other")


def pair(name, stems, others=FOUR, **changes):
    """A model with random weights, and a teacher with other ones."""
    torch.manual_seed(0)
    teacher = create_model(name, "tiny", others, **changes)
    torch.manual_seed(1)
    return create_model(name, "tiny", stems, **changes).eval(), teacher.eval()


def outputs(model, teacher, channels=2):
    generator = torch.Generator().manual_seed(3)
    noise = 0.1 * torch.randn(1, channels, 10000, generator=generator)
    noise = torch.cat([noise, -noise], dim=-1)  # without a mean value
    with torch.no_grad():
        return model(noise), teacher(noise)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("hdemucs", "instrumental"),
        ("htdemucs", "instrumental"),
        ("demucs", "band=drums+bass+other"),
        ("demucs", "no_vocals"),
    ],
)
def test_a_grouped_stem_begins_as_the_sum_of_its_stems(name, stem):
    model, teacher = pair(name, (stem,))
    origins = transfer(model, teacher)
    assert {o.state for o in origins} == {"matched", "summed"}
    assert agreement(origins) == 1.0
    estimate, parts = outputs(model, teacher)
    total = parts[:, 1:].sum(1)
    assert (estimate[:, 0] - total).norm() < 1e-5 * total.norm()


def test_stems_in_another_order_are_other_rows():
    model, teacher = pair("htdemucs", ("other", "vocals"))
    transfer(model, teacher)
    estimate, parts = outputs(model, teacher)
    torch.testing.assert_close(estimate, parts[:, [3, 0]], rtol=1e-4, atol=1e-6)


def test_a_single_network_of_each_stem_is_taken_by_its_name():
    sizes = {"n_fft": 512, "hop_length": 128, "hidden": 8, "wiener_iterations": 0}
    model, teacher = pair("open_unmix", ("bass",), residual=False, **sizes)
    origins = transfer(model, teacher)
    assert {o.state for o in origins} == {"matched", "unexpected"}
    estimate, _ = outputs(model.train(), teacher.train())
    for mine, theirs in zip(
        model.networks[0].parameters(), teacher.networks[2].parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert estimate.shape[1] == 1


def test_a_mixer_of_all_stems_begins_new():
    """Its columns are of the stems, too: with other rows alone, it would mix at random.

    A new one leaves each stem as it is.
    """
    model, teacher = pair("mdx_net", ("bass", "other", "vocals", "drums"))
    states = {o.name: o.state for o in transfer(model, teacher)}
    assert states.pop("mixer.weight") == "reshaped"
    assert {*states.values()} == {"matched"}
    estimate, parts = outputs(model, teacher)  # the teacher's mixer is a new one
    torch.testing.assert_close(estimate, parts[:, [2, 3, 0, 1]])


def test_a_sum_of_networks_is_no_network():
    sizes = {"n_fft": 512, "hop_length": 128, "hidden": 8}
    model, teacher = pair("open_unmix", ("instrumental",), **sizes)
    states = [o.state for o in transfer(model, teacher)]
    assert "matched" not in states
    assert "missing" in states


def test_a_mask_that_bends_the_sum_leaves_new_rows():
    model, teacher = pair("conv_tasnet", ("instrumental",))
    before = {n: t.clone() for n, t in model.state_dict().items()}
    origins = transfer(model, teacher)
    states = {o.name: o.state for o in origins}
    new = [n for n, state in states.items() if state == "reshaped"]
    assert new
    for name in new:
        assert torch.equal(model.state_dict()[name], before[name])
    for name, tensor in teacher.state_dict().items():
        if states[name] == "matched":
            assert torch.equal(model.state_dict()[name], tensor)


def test_stems_with_other_names_in_the_same_number_take_all():
    model, teacher = pair("hdemucs", ("dizi", "yangqin", "pipa", "other"))
    assert {o.state for o in transfer(model, teacher)} == {"matched"}


def test_a_summary_counts_each_state():
    origins = [
        Origin("a.b", "matched", 6),
        Origin("c.d", "reshaped", 1),
        Origin("e.f", "missing", 1),
        Origin("g", "unexpected", 99),
    ]
    text = "matched 1, reshaped 1 (c), missing 1 (e), unexpected 1 (g)"
    assert summary(origins) == text
    assert agreement(origins) == 0.75


def test_less_than_half_is_an_error_unless_allowed(tmp_path):
    torch.manual_seed(0)
    path = save_checkpoint(
        tmp_path / "a.safetensors", create_model("spleeter", "tiny", FOUR)
    )
    model = create_model("open_unmix", "tiny", FOUR)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    config = TrainConfig(model="open_unmix", init=str(path))
    with pytest.raises(CheckpointError, match=r"0% of OpenUnmix .* --init-partly"):
        start_from(model, config, lambda _: None)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    lines = []
    allowed = dataclasses.replace(config, init_partly=True)
    start_from(model, allowed, lines.append)
    assert "0.0% of the model" in lines[0]
    assert "unexpected" in lines[0]


def test_several_models_are_no_beginning(monkeypatch):
    bag = Bag([create_model("spleeter", "tiny", FOUR) for _ in range(2)])
    monkeypatch.setattr("mssedu.training.initial.load_model", lambda *_, **__: bag)
    with pytest.raises(InputError, match="several models"):
        start_from(bag.models[0], TrainConfig(init="bag"), lambda _: None)


def test_a_run_begins_from_another_one(tmp_path):
    first = dataclasses.replace(CONFIG, steps=2, ema_decay=())
    fit(spleeter(), TRAIN, None, first, tmp_path / "a")
    lines = []
    config = dataclasses.replace(
        first, steps=1, warmup_steps=0, learning_rate=1e-12, init=str(tmp_path / "a")
    )
    fit(spleeter(seed=5), TRAIN, None, config, tmp_path / "b", log=lines.append)
    assert lines[1].startswith(f"weights of {tmp_path / 'a'}: 100.0% of the model")
    a, b = (dict(load_checkpoint(tmp_path / x).named_parameters()) for x in "ab")
    for name, tensor in a.items():
        torch.testing.assert_close(tensor, b[name])


# ---- frozen parts


def test_frozen_weights_and_statistics_stay(tmp_path):
    net = spleeter()
    before = {n: t.clone() for n, t in net.state_dict().items()}
    pattern = "*encoder*"
    config = dataclasses.replace(CONFIG, steps=2, freeze=(pattern,), ema_decay=())
    fit(net, TRAIN, VALID, config, tmp_path)
    after = weights(tmp_path)
    frozen = [n for n in before if "encoder" in n]
    assert any("running_mean" in n for n in frozen)
    assert all(torch.equal(before[n], after[n]) for n in frozen)
    rest = [n for n in before if n not in frozen and "num_batches" not in n]
    assert not any(torch.equal(before[n], after[n]) for n in rest if "weight" in n)


def test_a_name_alone_means_all_in_it():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    assert freeze(net, ["0", "1.*"]) == 4
    train_mode(net, ["1.*"])
    assert [part.training for part in net] == [True, False, True]


def test_patterns_that_cannot_be_meant_are_named():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"no weight matches 'encoder\.\*'.*'0\.\*'"):
        freeze(net, ["encoder.*"])
    with pytest.raises(InputError, match="all 4 weights"):
        freeze(net, ["*"])


def test_constants_are_no_weights_to_train():
    net = create_model("bs_roformer", "tiny", ("vocals",))
    with pytest.raises(InputError, match="so there is nothing to train"):
        freeze(net, ["*weight", "*bias", "*gain"])  # all but the rotary speeds
