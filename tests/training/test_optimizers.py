"""Optimizers step as their papers say; schedules follow from step and history."""

import dataclasses

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.training.config import TrainConfig
from mssedu.training.optimizers import (
    create_optimizer,
    learning_rate_at,
    n_since_best,
    plateau_drop,
    step_if,
)

CONFIG = TrainConfig(steps=100, learning_rate=0.1)


def change(**changes):
    return dataclasses.replace(CONFIG, **changes)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Conv1d(4, 2, 1))


def stepped(config, net=None):
    """A network before and after a step of its optimizer."""
    net = net or network()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = create_optimizer(net, config)
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return before, dict(net.named_parameters()), optimizer


def test_adam_has_the_weight_decay_in_its_gradient_and_adamw_has_not():
    for name, decay in (("adam", 0.5), ("adamw", 0.5)):
        net = nn.Linear(1, 1, bias=False)
        net.weight.data.fill_(2.0)
        optimizer = create_optimizer(net, change(optimizer=name, weight_decay=decay))
        net.weight.grad = torch.zeros(1, 1)
        optimizer.step()
        # Adam's first step is the rate, however large the gradient 0.5 · 2 is.
        expected = 2.0 - 0.1 if name == "adam" else 2.0 - 0.1 * 0.5 * 2.0
        assert net.weight.item() == pytest.approx(expected, abs=1e-5)


def test_muon_gives_the_step_of_a_matrix_similar_singular_values():
    before, after, optimizer = stepped(change(optimizer="muon"))
    step = (after["0.weight"] - before["0.weight"]).detach()
    values = torch.linalg.svdvals(step)
    assert values[0] / values[-1] < 2.0
    for name in before:  # vectors and kernels are changed, too
        assert not torch.equal(before[name], after[name])
    assert len(optimizer.param_groups) == 2


def test_muon_comes_back_from_its_state():
    first, second = network(), network()
    config = change(optimizer="muon")
    optimizers = [create_optimizer(net, config) for net in (first, second)]
    for turn in range(4):
        for net, optimizer in zip((first, second), optimizers, strict=True):
            generator = torch.Generator().manual_seed(turn)
            for p in net.parameters():
                p.grad = torch.randn(p.shape, generator=generator)
            optimizer.step()
        if turn == 1:
            fresh = create_optimizer(second, config)
            fresh.load_state_dict(optimizers[1].state_dict())
            optimizers[1] = fresh
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_muon_needs_matrices():
    with pytest.raises(InputError, match="for matrices, and Conv1d has none"):
        create_optimizer(nn.Conv1d(2, 2, 1), change(optimizer="muon"))


def test_frozen_weights_have_no_place_in_the_optimizer():
    net = network()
    net[0].requires_grad_(False)
    _, _, optimizer = stepped(CONFIG, net)
    assert {p.shape for p in optimizer.param_groups[0]["params"]} == {
        p.shape for p in net[1].parameters()
    }


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("is_finite", [False, True])
def test_a_step_is_taken_if_it_is_finite(fused, is_finite):
    net = nn.Linear(2, 2)
    before = net.weight.detach().clone()
    optimizer = torch.optim.Adam(net.parameters(), fused=fused)
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    step_if(torch.tensor(is_finite), optimizer)
    assert torch.equal(net.weight, before) != is_finite


# ---- learning rate


def test_restarts_begin_the_cosine_again():
    config = change(
        schedule="restarts", restart_every=10, warmup_steps=5, learning_rate=1.0
    )
    rates = [learning_rate_at(step, config) for step in range(45)]
    assert [rates[5], rates[15], rates[35]] == [1.0, 1.0, 1.0]
    assert rates[10] == rates[20] == pytest.approx(0.5)
    assert rates[14] < 0.03


def test_a_decay_drops_the_rate_as_pytorch_does():
    config = change(
        schedule="decay", decay_every=7, decay_factor=0.3, learning_rate=1.0
    )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.3)
    for step in range(30):
        assert learning_rate_at(step, config) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_a_cosine_follows_the_budget_where_there_is_one():
    config = change(schedule="cosine", learning_rate=1.0)
    assert learning_rate_at(10, config, 0.5) == pytest.approx(0.5)


def test_plateaus_drop_the_rate_as_pytorch_does():
    config = change(schedule="plateau", plateau_patience=2, plateau_factor=0.3)
    scores = [1.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.5, 4.0, 3.0, 3.0]
    parameter = nn.Parameter(torch.zeros(1))
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        torch.optim.SGD([parameter], lr=1.0),
        mode="max",
        factor=0.3,
        patience=1,  # it waits for one validation more than its patience
        threshold=0.0,
    )
    better, best = [], -1.0
    for score in scores:
        better.append(score > best)
        best = max(best, score)
        theirs.step(score)
        expected = theirs.get_last_lr()[0]
        assert plateau_drop(better, config) == pytest.approx(expected)
    assert plateau_drop(better, change(schedule="constant")) == 1.0


def test_how_long_ago_the_best_was():
    assert n_since_best([False, False]) == 2
    assert n_since_best([True]) == 0
    assert n_since_best([True, False, False]) == 2
