"""The run folder: curves without doubles, history without NaN, best by score only."""

import dataclasses
import json
import math
import time

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mssedu.data.track import Track
from mssedu.errors import MssEduError
from mssedu.models.registry import create_model
from mssedu.training import record as module
from mssedu.training.config import TrainConfig
from mssedu.training.record import RunRecord, describe_run
from mssedu.training.runs import command_of_run, config_of_run, read_run
from mssedu.training.state import TrainState
from mssedu.weights.checkpoint import read_checkpoint

STEMS = ("hum", "hiss")


@pytest.fixture
def state(monkeypatch):
    """A state whose record writes no manifest, which has tests of its own."""
    monkeypatch.setattr(module, "write_manifest", lambda run_dir, state: None)
    sizes = {"n_fft": 512, "hop_length": 128, "bins": 64, "frames": 32}
    sizes["filters"] = (2, 4)
    model = create_model("spleeter", "tiny", STEMS, **sizes)
    return TrainState(model, TrainConfig(stems=STEMS))


@pytest.fixture
def lines():
    return []


@pytest.fixture
def record(tmp_path, state, lines):
    with RunRecord(tmp_path, state, lines.append) as record:
        yield record


def step(record, loss, waiting=0.0):
    record.state.step += 1
    record.step(loss, waiting, 1.0, record.state.step, 1e-3)


def test_an_entry_sums_up_the_steps_since_the_last_one(record, lines, tmp_path):
    for loss in (1.0, math.nan, 3.0):
        step(record, loss, waiting=0.25)
    record.validation(torch.tensor([[1.0, math.nan], [3.0, 5.0]]))
    step(record, 7.0)
    record.validation(None)
    first, second = record.state.history
    assert (first["step"], first["loss"], first["usdr"]) == (3, 2.0, 3.0)
    assert first["stems"] == {"hum": 2.0, "hiss": 5.0}
    assert first["n_silent"] == 1
    assert (first["waiting_seconds"], first["computing_seconds"]) == (0.75, 3.0)
    assert (second["loss"], second["usdr"], second["stems"]) == (7.0, None, {})
    text = (tmp_path / "history.jsonl").read_text("utf-8")
    assert [json.loads(line) for line in text.splitlines()] == [first, second]
    assert not [*tmp_path.glob(".*")]  # written whole, without temporary files
    assert lines == [
        "step 3: loss 2, usdr 3.00 dB (hum 2.00 dB, hiss 5.00 dB)",
        "step 4: loss 7",
    ]


def test_only_a_higher_finite_score_is_best(record, tmp_path):
    for score in (math.nan, -math.inf, 1.0, 3.0, 2.0, math.nan):
        step(record, 1.0)
        record.validation(torch.full((1, 2), score))
    assert (record.state.best_score, record.state.best_step) == (3.0, 4)
    facts = read_checkpoint(tmp_path / "best.safetensors").facts
    assert (facts["step"], facts["metric"], facts["scores"]["usdr"]) == (4, "usdr", 3.0)
    assert read_checkpoint(tmp_path / "last.safetensors").facts["step"] == 6
    assert [entry["usdr"] for entry in record.state.history[:2]] == [None, None]


def test_a_window_of_skipped_steps_has_no_loss(record, lines):
    step(record, math.nan)
    record.validation(torch.full((1, 2), math.nan))
    assert record.state.history[0]["loss"] is None
    assert lines[0].startswith("step 1: loss none, usdr undefined (hum undefined")


def test_waiting_for_data_is_reported_from_a_third_on(record, lines):
    step(record, 1.0, waiting=0.4)
    record.validation(None)
    step(record, 1.0, waiting=1.0)
    record.validation(None)
    assert "waiting" not in lines[0]
    assert lines[1].endswith("50% of the time was waiting for data: raise --n-workers")


def test_curves_hold_each_step_once_after_a_resume(tmp_path, state):
    for first, last in ((1, 4), (3, 6)):  # killed after step 4, resumed after step 2
        state.step = first - 1
        # The files are read by name: the second it began, then a count as text, where
        # 10 comes before 9. No run is resumed within a second.
        time.sleep(1.1)
        with RunRecord(tmp_path, state, print) as record:
            for _ in range(first, last + 1):
                step(record, float(last))
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    points = [(e.step, e.value) for e in curves.Scalars("train/loss")]
    assert points == [(1, 4.0), (2, 4.0), (3, 6.0), (4, 6.0), (5, 6.0), (6, 6.0)]
    assert len(curves.Scalars("train/learning_rate")) == 6


def saved_step(tmp_path):
    return read_checkpoint(tmp_path / "last.safetensors").facts["step"]


def test_a_window_goes_on_after_a_save_in_it(record, state, tmp_path):
    step(record, 1.0)
    record.keep_state()
    other = TrainState(state.model, state.config)
    other.restore(tmp_path / "last.safetensors")
    with RunRecord(tmp_path, other, print) as resumed:
        step(resumed, 4.0)
        resumed.validation(None)
    assert other.history[0]["loss"] == 2.5


def test_the_state_is_saved_every_few_steps_and_every_few_minutes(
    record, state, tmp_path, monkeypatch
):
    now = record.saved_at
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    state.config = dataclasses.replace(state.config, save_every=2)
    steps = []
    for _ in range(5):
        step(record, 1.0)
        record.keep_state_if_due()
        steps.append(record.saved[0])
    assert steps == [0, 2, 2, 4, 4]
    now += 5 * 60 + 1  # save_minutes is 5
    record.keep_state_if_due()
    assert saved_step(tmp_path) == 5
    state.config = dataclasses.replace(state.config, save_every=0)
    step(record, 1.0)
    record.keep_state_if_due()
    assert saved_step(tmp_path) == 5


def test_what_is_saved_is_not_saved_again(record, state, tmp_path, monkeypatch):
    step(record, 1.0)
    record.keep_state()
    monkeypatch.setattr(TrainState, "save", None)
    record.keep_state()


def test_a_kill_between_state_and_history_loses_no_line(record, state, tmp_path):
    step(record, 1.0)
    record.validation(torch.ones(1, 2))
    (tmp_path / "history.jsonl").write_text("")  # as of the version before
    RunRecord(tmp_path, state, print).curves.close()
    text = (tmp_path / "history.jsonl").read_text("utf-8")
    assert [json.loads(line) for line in text.splitlines()] == state.history


def test_only_the_first_process_writes(tmp_path, state, lines, monkeypatch):
    monkeypatch.setattr(module, "is_first", lambda: False)
    with RunRecord(tmp_path, state, lines.append) as record:
        step(record, 1.0)
        record.validation(torch.ones(1, 2))
        step(record, 1.0)
        record.keep_state()
    assert record.saved == (2, False)
    assert (state.best_score, state.best_step) == (1.0, 1)
    assert not list(tmp_path.iterdir())


def test_every_process_counts_the_minutes_since_its_last_save(
    tmp_path, state, lines, monkeypatch
):
    monkeypatch.setattr(module, "is_first", lambda: False)
    with RunRecord(tmp_path, state, lines.append) as record:
        now = record.saved_at + 5 * 60 + 1  # save_minutes is 5
        monkeypatch.setattr(module.time, "monotonic", lambda: now)
        saved = []
        for _ in range(3):
            step(record, 1.0)
            record.keep_state_if_due()
            saved.append(record.saved[0])
    assert saved == [1, 1, 1]


def test_a_state_with_nan_is_never_saved(record, state, tmp_path):
    step(record, 1.0)
    record.validation(torch.ones(1, 2))
    step(record, 1.0)
    state.model.networks[0].encoder_norms[0].running_mean.fill_(math.nan)
    text = r"at step 2\. Lower --learning-rate .* finite output is .*last\.safetensors"
    with pytest.raises(MssEduError, match=text + r" \(step 1\)"):
        record.keep_state()
    assert saved_step(tmp_path) == 1


def test_a_state_that_no_validation_has_seen_is_not_called_finite(record):
    step(record, 1.0)
    record.keep_state()
    assert "start again in another --run-dir" in str(record.diverged("NaN"))
    record.validation(torch.ones(1, 2))
    step(record, 1.0)
    record.keep_state()
    assert "best.safetensors (step 1)" in str(record.diverged("NaN"))


# ---- config.json --------------------------------------------------------------------


def described(folder, state, valid=None, baselines=None, command=None):
    track = Track.from_audio("雨天", {"hum": torch.ones(2, 88200)}, 44100)
    text = describe_run(folder, state, [track], valid, baselines or {}, command)
    return text, read_run(folder)


def phases(folder, state, from_step, device="cpu"):
    state.step, state.device = from_step, torch.device(device)
    _, document = described(folder, state)
    return [(p["from_step"], p["device"]) for p in document["phases"]]


def test_the_description_is_the_same_for_machine_and_reader(tmp_path, state):
    text, document = described(tmp_path, state, [], {"mixture": -1.0})
    assert document["train_tracks"] == ["雨天"]
    assert document["valid_tracks"] == []
    assert document["train_config"]["stems"] == ["hum", "hiss"]
    assert document["model_config"]["bins"] == 64
    assert text.startswith(f"spleeter, {document['n_parameters']:,} parameters, on cpu")
    assert text.endswith(
        "from 1 track (0.0 min); usdr without a model: mixture -1.00 dB"
    )
    alone, document = described(tmp_path, state, command={"data": "songs"})
    assert "no validation, so the weights of the last step" in alone
    assert document["phases"][-1]["versions"]["torch"] == torch.__version__


def test_settings_and_command_come_back_as_they_were(tmp_path, state):
    _, document = described(tmp_path, state, command={"data": "songs"})
    assert config_of_run(document) == state.config
    assert command_of_run(document) == {"data": "songs"}
    assert command_of_run(described(tmp_path, state)[1]) == {}


def test_only_what_differs_is_a_phase(tmp_path, state):
    assert phases(tmp_path, state, 0) == [(0, "cpu")]
    assert phases(tmp_path, state, 3) == [(0, "cpu")]
    assert phases(tmp_path, state, 5, "cuda:0") == [(0, "cpu"), (5, "cuda:0")]


def test_a_phase_without_steps_is_replaced(tmp_path, state):
    phases(tmp_path, state, 0)
    phases(tmp_path, state, 5, "cuda:0")  # killed before the first save
    assert phases(tmp_path, state, 5, "cuda:1") == [(0, "cpu"), (5, "cuda:1")]
    assert phases(tmp_path, state, 0, "mps") == [(0, "mps")]


def test_a_document_without_phases_was_one_phase(tmp_path, state):
    config = dataclasses.asdict(state.config)
    old = {"train_config": config, "torch": "2.0", "device": "cpu"}
    (tmp_path / "config.json").write_text(json.dumps(old), "utf-8")
    assert phases(tmp_path, state, 4) == [(0, "cpu"), (4, "cpu")]
    first = read_run(tmp_path)["phases"][0]
    assert first["versions"]["torch"] == "2.0"
    assert first["train_config"]["stems"] == ["hum", "hiss"]
