"""The training loop: exact resume, honest scores, and no run lost to NaN.

Three synthetic songs in memory (a low hum against noise, 8 kHz) and a Spleeter of a few
thousand parameters with dropout, so that the random state matters too.
"""

import dataclasses
import json
import math
import signal

import pytest
import torch
from torch.utils.data import default_collate

from mssedu.data.track import Track
from mssedu.errors import (
    CheckpointError,
    DatasetError,
    InputError,
    MssEduError,
    SetupError,
)
from mssedu.models.contract import grouping_of
from mssedu.models.registry import create_model
from mssedu.training import loop as train
from mssedu.training.config import TrainConfig
from mssedu.training.loop import fit, train_step
from mssedu.training.losses import LOSSES, waveform_l1
from mssedu.training.optimizers import learning_rate_at
from mssedu.training.validation import validate
from mssedu.weights.checkpoint import load_checkpoint, read_checkpoint

STEMS = ("hum", "hiss")
RATE = 8000
CONFIG = TrainConfig(
    stems=STEMS,
    preset="tiny",
    steps=6,
    batch_size=2,
    segment=0.3,
    learning_rate=1e-2,
    warmup_steps=2,
    schedule="cosine",
    ema_decay=0.9,
    valid_every=2,
    device="cpu",
)


def song(seed, seconds=1.0, stems=STEMS):
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(int(seconds * RATE)) / RATE
    hum = 0.3 * torch.sin(2 * math.pi * (80 + 20 * seed) * time).expand(2, -1)
    sources = {stems[0]: hum}
    for stem in stems[1:]:
        sources[stem] = 0.1 * torch.randn(hum.shape, generator=generator)
    return Track.from_audio(f"song {seed}", sources, RATE)


TRAIN, VALID = [song(0), song(1, 0.7)], [song(2)]


def model(seed=0, stems=STEMS, dropout=0.2):
    torch.manual_seed(seed)
    return create_model(
        "spleeter",
        "tiny",
        stems,
        sample_rate=RATE,
        n_fft=512,
        hop_length=128,
        dropout=dropout,
        bins=64,
        frames=32,
        filters=(2, 4),
    )


def change(**changes):
    return dataclasses.replace(CONFIG, **changes)


def weights(run_dir, name="last"):
    """Every tensor of a checkpoint: weights, average, optimizer and random state."""
    checkpoint = read_checkpoint(run_dir / f"{name}.safetensors")
    return {**checkpoint.weights, **checkpoint.tensors}


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def scores_of(history):
    """What a history says, without the seconds, which no seed fixes."""
    return [(h["step"], h["loss"], h["usdr"], h["stems"]) for h in history]


class StopError(Exception):
    """Stands for Ctrl-C, a kill or a power cut."""


def stop_at(last_step):
    def progress(step, total, loss, valid):
        if step == last_step:
            raise StopError

    return progress


def run(run_dir, config=CONFIG, valid=VALID, **options):
    return fit(model(), TRAIN, valid, config, run_dir, **options)


# ---- one step


def test_a_step_lowers_the_loss_of_its_batch():
    net, config = model(dropout=0.0).train(), change(clip_norm=0.0)
    sources = torch.stack([track.sources(0.0, 0.3) for track in TRAIN])
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = [
        train_step(net, sources, optimizer, config, waveform_l1) for _ in range(8)
    ]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("clip_norm", [0.0, 1e-3])
def test_clipping_bounds_the_gradient(clip_norm):
    net = model().train()
    sources = torch.stack([track.sources(0.0, 0.3) for track in TRAIN])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    train_step(net, sources, optimizer, change(clip_norm=clip_norm), waveform_l1)
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    assert norm <= 1.001e-3 if clip_norm else norm > 1e-2


def _nan_loss(*, estimate, reference):
    return estimate.sum() * math.nan


def _infinite_gradient(*, estimate, reference):
    return (estimate - estimate.detach()).abs().sum().sqrt()  # d sqrt(x)/dx at 0


@pytest.mark.parametrize("loss", [_nan_loss, _infinite_gradient])
def test_a_step_without_finite_gradient_changes_no_weight(loss):
    net = model().train()
    before = {name: p.clone() for name, p in net.named_parameters()}
    sources = torch.stack([track.sources(0.0, 0.3) for track in TRAIN])
    optimizer = torch.optim.Adam(net.parameters())
    assert math.isnan(train_step(net, sources, optimizer, CONFIG, loss))
    assert_same(before, dict(net.named_parameters()))


def test_nan_in_the_data_does_not_reach_batch_norm():
    net = model().train()
    sources = torch.full((2, 2, 2, 2400), math.nan)
    optimizer = torch.optim.Adam(net.parameters())
    before = {name: t.clone() for name, t in net.state_dict().items()}
    assert math.isnan(train_step(net, sources, optimizer, CONFIG, waveform_l1))
    assert_same(before, net.state_dict())


def test_learning_rate_rises_then_falls_along_half_a_cosine():
    config = change(steps=12, warmup_steps=2, learning_rate=1.0)
    rates = [learning_rate_at(step, config) for step in range(12)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[7] == pytest.approx(0.5)
    assert learning_rate_at(12, config) == pytest.approx(0.0, abs=1e-12)


# ---- a run


def test_a_run_leaves_what_its_head_promises(tmp_path):
    lines, calls = [], []
    result = run(
        tmp_path / "a", log=lines.append, progress=lambda *call: calls.append(call)
    )
    assert {path.name for path in (tmp_path / "a").iterdir()} >= {
        "config.json",
        "history.jsonl",
        "tensorboard",
        "last.safetensors",
        "last.json",
        "best.safetensors",
        "best.json",
    }
    document = json.loads((tmp_path / "a" / "config.json").read_text("utf-8"))
    assert document["train_tracks"] == ["song 0", "song 1"]
    assert document["usdr_without_model"] == result.baselines
    text = (tmp_path / "a" / "history.jsonl").read_text("utf-8")
    assert [json.loads(line) for line in text.splitlines()] == result.history
    assert [entry["step"] for entry in result.history] == [2, 4, 6]
    assert [call[:2] for call in calls] == [(step, 6) for step in range(1, 7)]
    assert calls[0][3] is None
    assert calls[-1][3] == result.history[-1]["usdr"]
    assert lines[0] == "mixture: hum + hiss"
    assert lines[1].startswith("a step takes ")
    assert lines[2].startswith("spleeter, ")
    assert "silence 0.00 dB" in lines[2]
    assert "step 6: loss" in " ".join(lines)


def test_best_is_the_entry_with_the_highest_score_and_loads_as_a_model(tmp_path):
    result = run(tmp_path)
    scores = {entry["step"]: entry["usdr"] for entry in result.history}
    assert result.score == scores[result.step] == max(scores.values())
    again = validate(load_checkpoint(tmp_path), VALID, STEMS)
    assert float(again.nanmean()) == pytest.approx(result.score, abs=1e-4)
    facts = read_checkpoint(tmp_path).facts
    assert facts["weights"] == "running average"
    assert facts["scores"]["usdr"] == result.score
    assert facts["train_config"]["learning_rate"] == CONFIG.learning_rate


def test_same_seed_same_numbers_another_seed_others(tmp_path):
    first, second = run(tmp_path / "a"), run(tmp_path / "b")
    other = run(tmp_path / "c", change(seed=1))
    assert scores_of(first.history) == scores_of(second.history)
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert scores_of(first.history) != scores_of(other.history)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("stopped_at", [3, 5])  # between two checkpoints
def test_stopped_and_resumed_is_bit_for_bit_as_if_never_stopped(
    tmp_path, ema_decay, stopped_at
):
    config = change(ema_decay=ema_decay)
    whole = run(tmp_path / "whole", config)
    with pytest.raises(StopError):
        run(tmp_path / "parts", config, progress=stop_at(stopped_at))
    torch.rand(7)  # the resumed process has another random state
    steps = []
    parts = fit(
        model(seed=5),  # and other first weights
        TRAIN,
        VALID,
        config,
        tmp_path / "parts",
        resume=True,
        progress=lambda step, *_: steps.append(step),
    )
    assert steps == list(range(stopped_at, 7))  # the step after the last checkpoint
    assert scores_of(parts.history) == scores_of(whole.history)
    assert (parts.score, parts.step) == (whole.score, whole.step)
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    assert_same(
        weights(tmp_path / "parts", "best"), weights(tmp_path / "whole", "best")
    )


def test_n_steps_and_n_more_are_2n_steps(tmp_path):
    config = change(schedule="constant")
    run(tmp_path / "whole", config)
    run(tmp_path / "parts", dataclasses.replace(config, steps=4))
    run(tmp_path / "parts", config, resume=True, allow_config_change=True)
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_a_finished_run_resumes_to_its_result(tmp_path):
    first = run(tmp_path)
    again = run(tmp_path, resume=True)
    assert again == first


def test_worker_processes_change_no_number(tmp_path):
    alone = run(tmp_path / "a", change(steps=2))
    helped = run(tmp_path / "b", change(steps=2, n_workers=2))
    assert scores_of(alone.history) == scores_of(helped.history)


def test_another_config_is_refused_with_the_difference(tmp_path):
    run(tmp_path, change(steps=2))
    config = change(steps=2, learning_rate=0.1, gain_db=(0.0, 0.0))
    text = r"gain_db: \[-10.0, 6.0\] -> \[0.0, 0.0\], learning_rate: 0.01 -> 0.1\. "
    with pytest.raises(CheckpointError, match=text + ".*allow_config_change=True"):
        run(tmp_path, config, resume=True)
    lines = []
    run(tmp_path, config, resume=True, allow_config_change=True, log=lines.append)
    assert "learning_rate: 0.01 -> 0.1" in lines[2]


def test_the_average_can_be_switched_on_and_off_between_runs(tmp_path):
    run(tmp_path, change(steps=2, ema_decay=0.0))
    for ema_decay, steps in ((0.9, 4), (0.0, 6)):
        config = change(steps=steps, ema_decay=ema_decay)
        result = run(tmp_path, config, resume=True, allow_config_change=True)
    assert [entry["step"] for entry in result.history] == [2, 4, 6]


def test_a_run_is_neither_overwritten_nor_invented(tmp_path):
    with pytest.raises(InputError, match=r"no run to resume: it has no last\.json"):
        run(tmp_path / "none", resume=True)
    run(tmp_path, change(steps=1, warmup_steps=0))
    with pytest.raises(InputError, match="already holds a run"):
        run(tmp_path, change(steps=1, warmup_steps=0))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    whole = run(tmp_path / "whole")
    with pytest.raises(StopError):
        run(tmp_path / "parts", progress=stop_at(5))
    (tmp_path / "parts" / "last.safetensors").write_bytes(b"cut")
    lines = []
    parts = run(tmp_path / "parts", resume=True, log=lines.append)
    assert lines[2].startswith("resumed after step 2 (the version before, because")
    assert scores_of(parts.history) == scores_of(whole.history)


def test_without_a_version_before_the_damage_is_an_error(tmp_path):
    run(tmp_path, change(steps=1, warmup_steps=0), valid=None)
    for name in ("last", "last.previous"):
        (tmp_path / f"{name}.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no file .*last\.safetensors"):
        run(tmp_path, change(steps=1, warmup_steps=0), valid=None, resume=True)


# ---- signals


def signal_at(where, number=signal.SIGINT):
    """A loss that sends a signal in step `where`, without the gates before it."""
    calls = iter(range(1, 10**6))

    def loss(*, estimate, reference):
        if estimate.requires_grad and next(calls) == where:
            signal.raise_signal(number)
        return waveform_l1(estimate=estimate, reference=reference)

    return loss


def assert_as_if_never_stopped(whole, parts):
    """Two folders hold the same, but for seconds."""
    assert_same(weights(parts), weights(whole))
    assert_same(weights(parts, "best"), weights(whole, "best"))
    histories = [
        [json.loads(line) for line in text.splitlines()]
        for text in ((f / "history.jsonl").read_text("utf-8") for f in (whole, parts))
    ]
    assert scores_of(histories[0]) == scores_of(histories[1])


def no_gates(*_, **__):
    """Stands for `rehearse`, which computes losses too."""


def stop_and_go_on(tmp_path, monkeypatch, end, config, **stop):
    """A whole run, and one that is stopped by what `stop` puts into train."""
    run(tmp_path / "whole", config)
    lines = []
    with monkeypatch.context() as patch:
        patch.setattr(train, "rehearse", no_gates)
        for name, value in stop.items():
            if name in LOSSES:
                patch.setitem(LOSSES, name, value)
            else:
                patch.setattr(train, name, value)
        with pytest.raises(end) as error:
            run(tmp_path / "parts", config, log=lines.append)
    torch.rand(7)  # the resumed process has another random state
    more = []
    run(tmp_path / "parts", config, resume=True, log=more.append)
    assert_as_if_never_stopped(tmp_path / "whole", tmp_path / "parts")
    return error.value, lines, more


@pytest.mark.parametrize(
    ("number", "end"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)],
)
@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_signal_in_a_step_saves_the_step(tmp_path, monkeypatch, number, end, step):
    config = change(valid_every=4)
    error, lines, more = stop_and_go_on(
        tmp_path, monkeypatch, end, config, waveform_l1=signal_at(step, number)
    )
    assert number == signal.SIGINT or error.code == 143
    folder = tmp_path / "parts"
    assert lines[-1] == (
        f"stopped after step {step}, state saved; "
        f"to go on: mssedu train --resume {folder}"
    )
    assert more[2] == f"resumed after step {step}"


@pytest.mark.parametrize("step", [4, 6])
def test_a_signal_in_the_step_before_a_validation_leaves_it_to_the_resumed_run(
    tmp_path, monkeypatch, step
):
    config = change(valid_every=4)
    _, lines, more = stop_and_go_on(
        tmp_path,
        monkeypatch,
        KeyboardInterrupt,
        config,
        waveform_l1=signal_at(step),
    )
    assert not any(line.startswith(f"step {step}:") for line in lines)
    assert more[4].startswith(f"step {step}:")


def test_a_signal_in_a_validation_ends_it_at_once(tmp_path, monkeypatch):
    def stopped(*_):
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the validation went on")

    _, lines, more = stop_and_go_on(
        tmp_path, monkeypatch, SystemExit, CONFIG, validate=stopped
    )
    assert lines[-1].startswith("stopped after step 2, state saved")
    assert more[4].startswith("step 2: loss")


def test_a_validation_that_is_made_up_for_has_the_rate_of_its_step(
    tmp_path, monkeypatch
):
    calls = iter(range(1, 100))

    def stopped(*args):
        if next(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return validate(*args)

    stop_and_go_on(tmp_path, monkeypatch, SystemExit, CONFIG, validate=stopped)
    for folder in (tmp_path / "whole", tmp_path / "parts"):
        text = (folder / "history.jsonl").read_text("utf-8")
        rates = [json.loads(line)["learning_rate"] for line in text.splitlines()]
        assert rates == [learning_rate_at(step - 1, CONFIG) for step in (2, 4, 6)]


def test_a_signal_in_a_save_lets_it_finish(tmp_path, monkeypatch):
    class Slow(train.TrainState):
        def save(self, path):
            if self.step == 2:
                signal.raise_signal(signal.SIGINT)
            super().save(path)

    _, lines, more = stop_and_go_on(
        tmp_path, monkeypatch, KeyboardInterrupt, CONFIG, TrainState=Slow
    )
    assert lines[-1].startswith("stopped after step 2, state saved")
    assert more[2] == "resumed after step 2"


def test_a_second_signal_in_a_step_leaves_the_older_state(tmp_path, monkeypatch):
    def twice(*, estimate, reference):
        if estimate.requires_grad and next(calls) == 4:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return waveform_l1(estimate=estimate, reference=reference)

    calls = iter(range(1, 10**6))
    _, lines, more = stop_and_go_on(
        tmp_path, monkeypatch, KeyboardInterrupt, CONFIG, waveform_l1=twice
    )
    assert lines[-1].startswith("stopped at once; the state is of step 2")
    assert more[2] == "resumed after step 2"


def test_an_interrupt_by_the_program_itself_saves_the_state_too(tmp_path):
    def progress(step, *_):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=progress)
    assert read_checkpoint(tmp_path / "last.safetensors").facts["step"] == 3


def test_dead_workers_after_a_signal_are_a_stop_and_else_an_error(
    tmp_path, monkeypatch
):
    def dies(sent):
        def batches(segments, state):
            yield default_collate([segments[0], segments[1]])
            if sent:
                signals[0].received = signal.SIGTERM
            raise RuntimeError("DataLoader worker (pid 5) is killed by signal")

        return batches

    signals = []

    class Kept(train.StopSignals):
        def __enter__(self):
            signals.append(self)
            return super().__enter__()

    monkeypatch.setattr(train, "StopSignals", Kept)
    monkeypatch.setattr(train, "batches", dies(sent=False))
    with pytest.raises(RuntimeError, match="pid 5"):
        run(tmp_path / "a")
    signals.clear()
    monkeypatch.setattr(train, "batches", dies(sent=True))
    with pytest.raises(SystemExit):
        run(tmp_path / "b")
    assert read_checkpoint(tmp_path / "a" / "last.safetensors").facts["step"] == 0
    assert read_checkpoint(tmp_path / "b" / "last.safetensors").facts["step"] == 1


def test_further_saves_change_no_number_and_shorten_the_way_back(tmp_path):
    config = change(valid_every=6, save_every=2)
    run(tmp_path / "whole", change(valid_every=6))
    with pytest.raises(StopError):
        run(tmp_path / "parts", config, progress=stop_at(5))
    steps = []
    run(
        tmp_path / "parts",
        change(valid_every=6),
        resume=True,
        progress=lambda step, *_: steps.append(step),
    )
    assert steps == [5, 6]
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert_same(a, b)
    documents = [
        json.loads((tmp_path / name / "history.jsonl").read_text("utf-8"))
        for name in ("whole", "parts")
    ]
    assert documents[0]["loss"] == documents[1]["loss"]


# ---- going on


def test_auto_starts_and_goes_on(tmp_path):
    with pytest.raises(StopError):
        run(tmp_path, resume="auto", progress=stop_at(4))
    lines = []
    run(tmp_path, resume="auto", log=lines.append)
    assert lines[2] == "resumed after step 4"


def test_other_songs_are_refused_unless_allowed(tmp_path):
    run(tmp_path, change(steps=2))
    others = [song(3), song(1, 0.7)]
    config = change(steps=4)
    options = {"resume": True, "allow_config_change": True}
    with pytest.raises(CheckpointError, match=r"other training songs.*--allow-data"):
        fit(model(), others, VALID, config, tmp_path, **options)
    lines = []
    options |= {"allow_data_change": True, "log": lines.append}
    fit(model(), others, VALID, config, tmp_path, **options)
    assert lines[2].endswith("with other data: other training songs")
    phases = json.loads((tmp_path / "config.json").read_text("utf-8"))["phases"]
    assert [phase["from_step"] for phase in phases] == [0, 2]
    assert phases[0]["data"] != phases[1]["data"]
    assert [phase["train_config"]["steps"] for phase in phases] == [2, 4]


def test_what_was_allowed_once_need_not_be_allowed_again(tmp_path):
    run(tmp_path, change(steps=2))
    longer = change(steps=4)
    with pytest.raises(StopError):
        run(
            tmp_path,
            longer,
            resume=True,
            allow_config_change=True,
            progress=stop_at(3),
        )
    assert run(tmp_path, longer, resume=True).step in (2, 4)


def test_stems_in_another_order_are_never_taken(tmp_path):
    run(tmp_path, change(steps=2))
    config, net = change(steps=4, stems=STEMS[::-1]), model(stems=STEMS[::-1])
    options = {"allow_config_change": True, "allow_data_change": True}
    with pytest.raises(CheckpointError, match="never change within a run"):
        fit(net, TRAIN, VALID, config, tmp_path, resume=True, **options)


def test_training_songs_are_no_validation(tmp_path):
    copy = dataclasses.replace(TRAIN[1], name="Renamed")
    with pytest.raises(DatasetError, match="Renamed = song 1"):
        run(tmp_path, valid=[*VALID, copy])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_trained", [False, True])
def test_only_a_new_model_takes_statistics_of_the_data(tmp_path, is_trained):
    net = create_model(
        "open_unmix", "tiny", STEMS, sample_rate=RATE, n_fft=512, hop_length=128
    )
    config = change(model="open_unmix", steps=1, warmup_steps=0, learning_rate=1e-12)
    fit(net, TRAIN, None, config, tmp_path / "first")
    if is_trained:
        net = load_checkpoint(tmp_path / "first")
    before = net.networks[0].input_scale.clone()
    louder = [
        Track.from_audio(t.name, {s: 4 * t.stem(s) for s in STEMS}, RATE) for t in TRAIN
    ]
    if not is_trained:
        net = create_model("open_unmix", "tiny", **dataclasses.asdict(net.config))
    fit(net, louder, None, config, tmp_path / "second")
    after = net.networks[0].input_scale
    assert torch.allclose(before, after) == is_trained


# ---- NaN


def test_a_learning_rate_far_too_high_is_named(tmp_path):
    net = create_model(
        "open_unmix", "tiny", STEMS, sample_rate=RATE, n_fft=512, hop_length=128
    )
    config = change(
        model="open_unmix", learning_rate=1e20, warmup_steps=0, steps=40, ema_decay=0.0
    )
    text = r"at step \d+\. Lower --learning-rate .*\.safetensors \(step \d+\)"
    with pytest.raises(MssEduError, match=text):
        fit(net, TRAIN, VALID, config, tmp_path)
    assert all(t.isfinite().all() for t in weights(tmp_path).values())


def _nan_from_call(first, n):
    """A loss whose calls first … first + n - 1 give NaN; the first is call 1.

    Each step is a call, without the gates, and so is the replay of the first bad step.
    """
    calls = iter(range(1, 10**6))

    def loss(*, estimate, reference):
        value = waveform_l1(estimate=estimate, reference=reference)
        if not estimate.requires_grad:  # of a validation
            return value
        return value * math.nan if first <= next(calls) < first + n else value

    return loss


def test_steps_with_nan_are_skipped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "rehearse", no_gates)
    monkeypatch.setitem(LOSSES, "waveform_l1", _nan_from_call(3, 3))
    lines = []
    result = run(tmp_path, log=lines.append)
    assert result.n_skipped == 2
    assert [entry["n_skipped"] for entry in result.history] == [0, 2, 2]
    assert result.history[1]["loss"] is None  # both steps of this window
    text = "step 3 skipped: NaN or Inf in loss or gradient (items 4 … 5 of"
    assert any(line.startswith(text) for line in lines)
    assert all(t.isfinite().all() for t in weights(tmp_path).values())


def test_endless_nan_stops_the_run_and_keeps_the_last_good_state(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "rehearse", no_gates)
    monkeypatch.setitem(LOSSES, "waveform_l1", _nan_from_call(4, 99))
    with pytest.raises(
        MssEduError, match=r"11 steps in a row .*rate.* finite output is .*last"
    ):
        run(tmp_path, change(steps=30, valid_every=3))
    good = read_checkpoint(tmp_path / "last.safetensors")
    assert good.facts["history"][0]["loss"] is not None
    assert all(t.isfinite().all() for t in good.weights.values())


def test_a_nan_score_never_becomes_best(tmp_path, monkeypatch):
    scores = iter([math.nan, -math.inf, 1.0])
    monkeypatch.setattr(
        train,
        "validate",
        lambda *_: torch.full((1, 2), next(scores), dtype=torch.float),
    )
    result = run(tmp_path)
    assert [entry["usdr"] for entry in result.history] == [None, None, 1.0]
    assert (result.step, result.score) == (6, 1.0)


# ---- before step 1


def test_without_validation_the_last_weights_count(tmp_path):
    result = run(tmp_path, valid=None)
    assert (result.score, result.step, result.baselines) == (None, 6, {})
    assert result.checkpoint.name == "last.safetensors"
    assert load_checkpoint(result.checkpoint).config.stems == STEMS


def test_a_run_that_goes_on_without_validation_keeps_no_older_best_weights(tmp_path):
    assert run(tmp_path).checkpoint.name == "best.safetensors"
    more = change(steps=8)
    changes = {"allow_config_change": True, "allow_data_change": True}
    result = run(tmp_path, more, valid=None, resume=True, **changes)
    assert result.checkpoint.name == "last.safetensors"
    assert read_checkpoint(tmp_path).facts["step"] == 8
    assert read_checkpoint(tmp_path / "best.previous.safetensors").facts["step"] <= 6


def test_a_model_no_better_than_silence_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "validate", lambda *_: torch.full((1, 2), -5.0))
    lines = []
    run(tmp_path, change(steps=1, warmup_steps=0), log=lines.append)
    assert lines[-1].startswith("validation did not improve")


def test_stems_that_only_sound_in_the_mixture_come_last(tmp_path):
    tracks = [song(seed, stems=("hum", "hiss", "rumble")) for seed in (0, 1)]
    config = change(stems=("hiss",), steps=2)
    others, lines = [song(2, stems=("hum", "hiss", "rumble"))], []
    net = model(stems=("hiss",))
    result = fit(net, tracks, others, config, tmp_path, log=lines.append)
    assert result.history[-1]["stems"].keys() == {"hiss"}
    assert lines[0] == "mixture: hiss + hum, rumble (not estimated)"


def test_a_stem_made_of_others_is_kept_with_the_run(tmp_path):
    tracks = [song(seed, stems=("hum", "hiss", "rumble")) for seed in (0, 1, 2)]
    stems = ("instrumental=-hum",)
    config = change(stems=None, steps=2)
    result = fit(model(stems=stems), tracks[:2], tracks[2:], config, tmp_path)
    assert result.history[-1]["stems"].keys() == {"instrumental"}
    document = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert document["train_config"]["stems"] == list(stems)
    assert document["model_config"]["stems"] == ["instrumental"]
    assert grouping_of(load_checkpoint(tmp_path)) == stems
    assert read_checkpoint(tmp_path).facts["train_config"]["stems"] == list(stems)
    with pytest.raises(InputError, match="instrumental=-hum"):
        fit(model(stems=stems), tracks, None, change(), tmp_path / "other")


@pytest.mark.parametrize(("train_tracks", "valid_tracks"), [([], VALID), (TRAIN, [])])
def test_a_run_that_cannot_work_leaves_no_trace(tmp_path, train_tracks, valid_tracks):
    with pytest.raises(DatasetError, match="_tracks is empty"):
        fit(model(), train_tracks, valid_tracks, CONFIG, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_loss_is_named(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'waveform_l1'"):
        run(tmp_path, change(loss="waveform_l2"))


def test_a_first_batch_of_nan_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(LOSSES, "waveform_l1", _nan_loss)
    with pytest.raises(InputError, match="first batch"):
        run(tmp_path)


def test_too_little_memory_is_told_with_the_way_out(tmp_path, monkeypatch):
    def no_memory(*, estimate, reference):
        raise torch.OutOfMemoryError

    monkeypatch.setitem(LOSSES, "waveform_l1", no_memory)
    with pytest.raises(
        SetupError, match=r"memory of cpu .* 2 × 0\.3 s\. Halve --batch-size"
    ):
        run(tmp_path)


# ---- precision, devices, learning


def test_bfloat16_trains_on_the_cpu_too_and_keeps_float32_weights(tmp_path):
    result = run(tmp_path, change(steps=2, precision="bfloat16"))
    assert math.isfinite(result.history[-1]["loss"])
    assert all(t.dtype != torch.bfloat16 for t in weights(tmp_path).values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_trains_and_resumes_on_cuda(tmp_path, precision):
    config = change(device="cuda", precision=precision)
    with pytest.raises(StopError):
        run(tmp_path, config, progress=stop_at(3))
    result = run(tmp_path, config, resume=True)
    assert [entry["step"] for entry in result.history] == [2, 4, 6]
    assert math.isfinite(result.score)


def test_a_model_gone_nan_stops_the_run_at_validation(tmp_path, monkeypatch):
    def poison(self):
        if self.step == 3:
            self.average.networks[0].output.bias.data.fill_(math.nan)

    monkeypatch.setattr(train.TrainState, "update_average", poison)
    text = r"NaN or Inf .* at step 4\. Lower --learning-rate .*last\.safetensors"
    with pytest.raises(MssEduError, match=text + r" \(step 2\)"):
        run(tmp_path)
    assert all(t.isfinite().all() for t in weights(tmp_path).values())


@pytest.mark.slow
def test_it_learns(tmp_path):
    config = change(steps=150, valid_every=150, loss="waveform_l1", clip_norm=0.0)
    net = model(dropout=0.0)
    before = validate(net, VALID, STEMS).mean()
    result = fit(net, TRAIN, VALID, config, tmp_path)
    assert result.score > before + 3
    assert result.score > max(result.baselines.values())
