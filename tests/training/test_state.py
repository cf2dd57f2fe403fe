"""The state of a run comes back bit for bit; what differs is named.

That a resumed run goes on as if never stopped is shown in test_loop.py.
"""

import dataclasses
import json
import math

import pytest
import torch

from mssedu.errors import CheckpointError, InputError
from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.state import TrainState, Window, data_changes

CONFIG = TrainConfig(stems=("hum", "hiss"), ema_decay=0.9)


def state(seed=0, config=CONFIG, data=None, **changes):
    torch.manual_seed(seed)
    sizes = {"n_fft": 512, "hop_length": 128, "bins": 64, "frames": 32}
    sizes["filters"] = (2, 4)
    model = create_model("spleeter", "tiny", config.stems, **(sizes | changes))
    return TrainState(model, config, data)


def trained(n_steps=2):
    run = state()
    for _ in range(n_steps):
        run.optimizer.zero_grad()
        run.model(torch.randn(2, 2, 3000)).square().mean().backward()
        run.optimizer.step()
        run.step += 1
        run.update_average()
    return run


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.fixture
def path(tmp_path):
    return tmp_path / "last.safetensors"


def test_the_average_moves_by_its_decay():
    run = state()
    start = run.average.networks[0].output.weight.clone()
    run.model.networks[0].output.weight.data += 1
    run.step = 1000  # past the fast start
    run.update_average()
    moved = run.average.networks[0].output.weight - start
    torch.testing.assert_close(moved, torch.full_like(moved, 1 - 0.9))


def test_the_average_starts_fast_and_copies_statistics():
    run = state()
    run.model.networks[0].output.weight.data.fill_(11.0)
    run.model.networks[0].encoder_norms[0].running_mean.fill_(3.0)
    run.average.networks[0].output.weight.data.fill_(1.0)
    run.update_average()  # at step 0: decay 1 / 10
    torch.testing.assert_close(
        run.average.networks[0].output.weight,
        torch.full_like(run.average.networks[0].output.weight, 10.0),
    )
    assert (run.average.networks[0].encoder_norms[0].running_mean == 3.0).all()


def test_without_average_the_weights_themselves_are_evaluated():
    run = state(config=dataclasses.replace(CONFIG, ema_decay=0.0))
    run.update_average()
    assert run.evaluated is run.model
    assert run.facts()["weights"] == "last step"


def test_everything_comes_back(path):
    run = trained()
    run.history, run.best_score, run.best_step = [{"step": 2, "usdr": 1.5}], 1.5, 2
    run.n_skipped, run.skipped_in_a_row, run.validation_due = 3, 2, True
    run.window = Window(0.1 + 0.2, 2, 1.5, 2.5)
    run.save(path)
    draw = torch.rand(5)
    other = state(seed=7)
    assert other.restore(path) == "resumed after step 2"
    assert torch.equal(torch.rand(5), draw)
    assert_same(other.model.state_dict(), run.model.state_dict())
    assert_same(other.average.state_dict(), run.average.state_dict())
    mine, theirs = run.optimizer.state_dict(), other.optimizer.state_dict()
    assert mine["param_groups"] == theirs["param_groups"]
    for index, memory in mine["state"].items():
        assert_same(memory, theirs["state"][index])
    names = ("step", "n_skipped", "best_score", "best_step", "history", "window")
    for name in (*names, "skipped_in_a_row", "validation_due"):
        assert getattr(other, name) == getattr(run, name)


def test_another_model_is_refused(path):
    state().save(path)
    other = state(config=dataclasses.replace(CONFIG, stems=("hiss", "hum")))
    for allowed in (False, True):
        with pytest.raises(CheckpointError, match="never change within a run"):
            other.restore(path, allow_config=allowed, allow_data=allowed)


def test_fields_of_the_model_are_settings_too(path):
    state().save(path)
    with pytest.raises(CheckpointError, match=r"in the model dropout: 0\.0 -> 0\.1"):
        state(dropout=0.1).restore(path)
    state(dropout=0.1).restore(path, allow_config=True)
    with pytest.raises(CheckpointError, match=r"misshapen \d+ \(networks"):
        state(filters=(2, 8)).restore(path, allow_config=True)


def test_settings_that_change_no_number_are_free(path):
    state().save(path)
    config = dataclasses.replace(CONFIG, n_workers=2, save_every=5, device="cpu")
    sentence = state(config=config).restore(path)
    assert "n_workers: 0 -> 2" in sentence


def test_another_kind_of_device_is_a_change(path, monkeypatch):
    run = state()
    run.device = torch.device("mps")
    run.save(path)
    with pytest.raises(CheckpointError, match="device: 'mps' -> 'cpu'"):
        state().restore(path)
    assert "'mps' -> 'cpu'" in state().restore(path, allow_config=True)


def test_other_songs_are_refused_unless_allowed(path):
    state(data={"train": "a", "valid": "b"}).save(path)
    state(data={"train": "a", "valid": "b"}).restore(path)
    other = state(data={"train": "c", "valid": "b"})
    with pytest.raises(
        CheckpointError,
        match=r"other training.*--allow-data-change \(allow_data_change=True in Python",
    ):
        other.restore(path, allow_config=True)
    sentence = other.restore(path, allow_data=True)
    assert sentence.endswith("with other data: other training songs")


def test_scores_of_other_validation_songs_are_not_compared(path):
    run = state(data={"train": "a", "valid": "b"})
    run.best_score, run.best_step = 9.0, 1
    run.save(path)
    for valid, best in (("b", 9.0), (None, -math.inf), ("c", -math.inf)):
        other = state(data={"train": "d", "valid": valid})
        other.restore(path, allow_data=True)
        assert other.best_score == best


def entry(step, usdr, valid_loss=1.0):
    return {"step": step, "usdr": usdr, "valid_loss": valid_loss}


def test_plateaus_and_the_early_stop_begin_again_with_other_validation_songs(path):
    config = dataclasses.replace(
        CONFIG, early_stop=2, schedule="plateau", plateau_patience=2
    )
    run = state(config=config, data={"train": "a", "valid": "b"})
    run.history = [entry(1, 9.0), entry(2, 8.0), entry(3, 7.0)]
    assert (run.drop, run.is_stalled) == (0.3, True)
    run.save(path)
    other = state(config=config, data={"train": "a", "valid": "c"})
    other.restore(path, allow_data=True)
    for step, usdr in ((4, 3.0), (5, 4.0)):
        assert (other.drop, other.is_stalled) == (0.3, False)
        other.history.append(entry(step, usdr))
    other.save(path)
    again = state(config=config, data={"train": "a", "valid": "c"})
    again.restore(path)  # nothing differs now
    again.history += [entry(6, 3.0), entry(7, 3.0)]
    assert again.drop == pytest.approx(0.09)
    assert again.is_stalled


@pytest.mark.parametrize(
    ("before", "changes", "counts"),
    [
        ("usdr", {"best_metric": "valid_loss"}, False),
        ("usdr", {"loss": ("waveform_mse",)}, True),
        ("valid_loss", {"loss": ("waveform_mse",)}, False),
        ("valid_loss", {"segment": 3.0}, False),
        ("valid_loss", {"learning_rate": 0.1}, True),
    ],
)
def test_a_score_of_another_kind_does_not_count(path, before, changes, counts):
    config = dataclasses.replace(CONFIG, best_metric=before)
    run = state(config=config)
    run.history, run.best_score, run.best_step = [entry(1, -3.0)], -3.0, 1
    run.save(path)
    other = state(config=dataclasses.replace(config, **changes))
    sentence = other.restore(path, allow_config=True)
    assert other.best_score == (-3.0 if counts else -math.inf)
    assert ("the earlier best score no longer counts" in sentence) == (not counts)


def test_a_state_without_the_name_of_its_optimizer_was_of_adam(path):
    trained().save(path)
    document = json.loads(path.with_suffix(".json").read_text("utf-8"))
    del document["facts"]["train_config"]["optimizer"]
    path.with_suffix(".json").write_text(json.dumps(document), "utf-8")
    for name, is_kept in (("adam", True), ("adamw", False)):
        other = state(config=dataclasses.replace(CONFIG, optimizer=name))
        other.restore(path, allow_config=True)
        assert bool(other.optimizer.state) == is_kept


def test_fewer_steps_than_done_are_refused(path):
    trained(3).save(path)
    short = dataclasses.replace(CONFIG, steps=2)
    with pytest.raises(InputError, match=r"steps is 2, .* 3 steps"):
        state(config=short).restore(path, allow_config=True)


def test_a_state_of_version_0_1_comes_back(path):
    run = trained()
    run.save(path)
    document = json.loads(path.with_suffix(".json").read_text("utf-8"))
    for name in ("window", "validation_due", "skipped_in_a_row", "data", "device"):
        del document["facts"][name]
    del document["facts"]["train_config"]["save_every"]
    path.with_suffix(".json").write_text(json.dumps(document), "utf-8")
    other = state(data={"train": "a", "valid": None})
    assert other.restore(path) == "resumed after step 2"
    assert (other.window, other.validation_due) == (Window(), False)


def test_nan_in_weights_and_statistics_is_found():
    run = state()
    assert run.is_finite()
    run.average.networks[0].encoder_norms[0].running_var.fill_(torch.inf)
    assert not run.is_finite()


def test_another_config_is_refused_with_the_difference(path):
    state().save(path)
    other = state(config=dataclasses.replace(CONFIG, seed=1, gain_db=(0.0, 0.0)))
    text = r"gain_db: \[-10.0, 6.0\] -> \[0.0, 0.0\], seed: 0 -> 1\. Restore"
    text += r".*--allow-config-change \(allow_config_change=True in Python"
    with pytest.raises(CheckpointError, match=text):
        other.restore(path)
    assert "seed: 0 -> 1" in other.restore(path, allow_config=True)


def test_nothing_to_restore_is_an_error(path):
    with pytest.raises(InputError, match=r"no run to resume: it has no last\.json"):
        state().restore(path)


def test_damage_falls_back_to_the_version_before_if_there_is_one(path):
    run = trained(1)
    run.save(path)
    content = path.read_bytes()
    path.write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="damaged"):
        state().restore(path)
    path.write_bytes(content)
    run.step = 2
    run.save(path)
    path.write_bytes(b"cut")
    other = state()
    assert other.restore(path).startswith("resumed after step 1 (the version before, ")
    assert other.step == 1


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (None, ("a", "b"), ""),
        (("a", "b"), ("a", "b"), ""),
        (("a", None), ("a", "b"), "validation songs"),
        (("a", "b"), ("a", "c"), "other validation songs"),
        (("a", "b"), ("c", None), "other training songs, no validation"),
    ],
)
def test_which_songs_differ(old, new, text):
    names = ("train", "valid")
    before = old and dict(zip(names, old, strict=True))
    assert data_changes(before, dict(zip(names, new, strict=True))) == text
