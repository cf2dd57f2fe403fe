"""Options of a long training: averages, early stop, excerpts, precision."""

import dataclasses
import json
import math
from types import SimpleNamespace

import pytest
import torch

from mssedu.data.track import Track
from mssedu.errors import InputError
from mssedu.training import loop
from mssedu.training.criterion import (
    check_validated,
    excerpts_of,
    improvements,
    is_better,
    validation_loss,
)
from mssedu.training.losses import waveform_l1
from mssedu.training.step import batch_loss
from mssedu.weights.checkpoint import read_checkpoint
from tests.training.test_loop import (
    STEMS,
    TRAIN,
    VALID,
    StopError,
    assert_same,
    change,
    model,
    run,
    scores_of,
    song,
    stop_at,
    weights,
)


@pytest.mark.parametrize(
    "options",
    [
        {"ema_decay": (0.5, 0.9), "optimizer": "adamw", "weight_decay": 0.1},
        {"schedule": "plateau", "plateau_patience": 1, "best_metric": "valid_loss"},
        {"precision": "float16", "accumulate": 2, "svd_penalty": 1e-3},
    ],
    ids=["averages", "plateau", "float16"],
)
def test_every_option_goes_on_exactly(tmp_path, options):
    config = change(**options)
    whole = run(tmp_path / "whole", config)
    with pytest.raises(StopError):
        run(tmp_path / "parts", config, progress=stop_at(5))
    torch.rand(7)
    parts = run(tmp_path / "parts", config, resume=True)
    assert scores_of(parts.history) == scores_of(whole.history)
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    facts = [
        read_checkpoint(tmp_path / name / "last.safetensors").facts
        for name in ("whole", "parts")
    ]
    for name in ("scaler", "decay", "best_score"):
        assert facts[0][name] == facts[1][name]


def test_the_best_of_several_averages_is_saved(tmp_path, monkeypatch):
    scores = {0.5: [1.0, 2.0, 9.0], 0.9: [3.0, 1.0, 2.0]}
    turns = iter([(d, i) for i in range(3) for d in (0.5, 0.9)])

    def validate(*_):
        decay, turn = next(turns)
        return torch.full((1, 2), scores[decay][turn])

    monkeypatch.setattr(loop, "validate", validate)
    lines = []
    result = run(tmp_path, change(ema_decay=(0.5, 0.9)), log=lines.append)
    assert [entry["decay"] for entry in result.history] == [0.9, 0.5, 0.5]
    assert [entry["usdr"] for entry in result.history] == [3.0, 2.0, 9.0]
    assert (result.score, result.step) == (9.0, 6)
    best = read_checkpoint(tmp_path / "best.safetensors")
    assert best.facts["decay"] == 0.5
    last = read_checkpoint(tmp_path / "last.safetensors")
    assert_same(best.weights, last.weights)
    others = [n for n in last.tensors if n.startswith("average/0.9/")]
    assert len(others) == len(last.weights)
    assert any("best decay 0.9" in line for line in lines)


def test_a_run_ends_early_and_stays_ended(tmp_path, monkeypatch):
    scores = iter([2.0, 1.0, 1.0, 7.0])
    monkeypatch.setattr(loop, "validate", lambda *_: torch.full((1, 2), next(scores)))
    config, lines = change(steps=20, early_stop=2), []
    result = run(tmp_path, config, log=lines.append)
    assert [entry["step"] for entry in result.history] == [2, 4, 6]
    assert (result.score, result.step) == (2.0, 2)
    assert lines[-1].startswith("the run ends at step 6: the last 2 validations")
    again = run(tmp_path, config, resume=True)
    assert again.history == result.history
    longer = dataclasses.replace(config, early_stop=3, steps=8)
    more = run(tmp_path, longer, resume=True, allow_config_change=True)
    assert [entry["usdr"] for entry in more.history] == [2.0, 1.0, 1.0, 7.0]


def test_the_lowest_loss_can_be_the_best(tmp_path, monkeypatch):
    losses = iter([0.3, 0.1, math.nan])
    monkeypatch.setattr(loop, "validation_loss", lambda *_: next(losses))
    config = change(best_metric="valid_loss")
    result = run(tmp_path, config)
    assert [entry["valid_loss"] for entry in result.history] == [0.3, 0.1, None]
    assert result.step == 4
    assert result.score == result.history[1]["usdr"]  # in dB all the same
    assert read_checkpoint(tmp_path).facts["metric"] == "valid_loss"
    lines = (tmp_path / "history.jsonl").read_text("utf-8").splitlines()
    assert json.loads(lines[1])["valid_loss"] == 0.1


def test_directions_and_nan():
    assert is_better("usdr", 2.0, 1.0)
    assert is_better("valid_loss", 1.0, 2.0)
    assert not is_better("usdr", 1.0, 1.0)
    for worse in (None, math.nan, -math.inf):
        assert not is_better("usdr", worse, None)
        assert is_better("usdr", -50.0, worse)
    history = [{"usdr": None}, {"usdr": 1.0}, {"usdr": 0.0}, {"usdr": 2.0}]
    assert improvements(history, "usdr") == [False, True, False, True]


def test_the_loss_of_a_validation_is_the_mean_over_the_songs():
    config, net = change(segment=0.5), model()

    def value(network, sources, *, present):
        assert not network.training
        return batch_loss(network, sources, config, waveform_l1, present)

    songs = [song(2, 1.0), song(3, 0.5)]
    net.train()
    loss = validation_loss(net, songs, config, value)
    assert net.training
    net.eval()
    means = []
    for track in songs:
        pieces = [
            track.sources(start, 0.5)
            for start in (0.0, 0.5)[: 1 + (track.duration > 0.5)]
        ]
        with torch.no_grad():
            losses = [
                waveform_l1(estimate=net(p.sum(0)[None]), reference=p[None])
                for p in pieces
            ]
        means.append(torch.stack(losses).mean())
    assert loss == pytest.approx(float(torch.stack(means).mean()), rel=1e-4)
    only = Track.from_audio("x", {}, 8000, mixture=songs[0].mixture(), absent=STEMS)
    assert validation_loss(net, [only], config, value) is None


def test_excerpts_are_the_same_middles_each_time():
    songs = [song(i, 2.0) for i in range(5)]
    chosen = excerpts_of(songs, change(valid_tracks=2, valid_seconds=0.5))
    assert [track.name for track in chosen] == ["song 0", "song 2"]
    for track, whole in zip(chosen, (songs[0], songs[2]), strict=True):
        assert torch.equal(track.sources(), whole.sources(0.75, 0.5))
        assert torch.equal(track.mixture(), whole.mixture(0.75, 0.5))
    assert excerpts_of(songs, change()) == songs
    assert excerpts_of(songs, change(valid_seconds=9.0)) == songs


@pytest.mark.parametrize(
    "options",
    [{"early_stop": 1}, {"schedule": "plateau"}, {"best_metric": "valid_loss"}],
)
def test_what_needs_a_validation_says_so(options):
    with pytest.raises(InputError, match="needs a validation"):
        check_validated(change(**options), None)
    check_validated(change(**options), VALID)
    check_validated(change(), None)


def test_losses_are_read_together_where_the_device_works_alone(tmp_path, monkeypatch):
    """As on a GPU, where only READ_EVERY steps, saves and validations read them."""
    reads = []
    read = loop._read

    def spied(state, unread, *rest):
        reads.append([done.step for done in unread])
        return read(state, unread, *rest)

    def must_read(state, n_unread, signals):
        return n_unread >= 3 or state.validation_due

    plain = run(tmp_path / "a", change(steps=8, valid_every=4))
    monkeypatch.setattr(loop, "_read", spied)
    monkeypatch.setattr(loop, "_must_read", must_read)
    result = run(tmp_path / "b", change(steps=8, valid_every=4))
    assert reads == [[1, 2, 3], [4], [5, 6, 7], [8]]
    assert scores_of(result.history) == scores_of(plain.history)


def test_another_optimizer_begins_without_memory(tmp_path):
    run(tmp_path, change(steps=2))
    config = change(steps=4, optimizer="adamw")
    result = run(tmp_path, config, resume=True, allow_config_change=True)
    assert [entry["step"] for entry in result.history] == [2, 4]
    assert len(TRAIN) == 2


def test_an_infinite_loss_is_as_bad_as_one_that_is_none():
    for loss in (math.inf, math.nan):
        value = validation_loss(
            model(), VALID, change(), lambda *_, loss=loss, **__: torch.tensor(loss)
        )
        assert value == math.inf


def test_a_run_by_heart_reads_each_loss_on_any_device():
    signals = SimpleNamespace(agree=lambda: False)
    for overfit in (0, 1):
        state = SimpleNamespace(
            config=change(overfit=overfit),
            step=1,
            validation_due=False,
            device=torch.device("cuda"),
        )
        assert loop._must_read(state, 1, signals) == bool(overfit)
