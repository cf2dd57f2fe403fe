"""Checkpoints come back bit for bit, survive a kill at any moment, and never pickle."""

import dataclasses
import itertools
import json
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import mssedu
from mssedu.errors import CheckpointError, InputError
from mssedu.models.registry import create_model
from mssedu.weights import checkpoint as module
from mssedu.weights.checkpoint import (
    git_commit,
    load_checkpoint,
    load_weights,
    previous,
    read_checkpoint,
    save_checkpoint,
)


def tiny_model(seed=0):
    torch.manual_seed(seed)
    return create_model(
        "spleeter",
        "tiny",
        ("dizi", "other"),
        sample_rate=8000,
        n_fft=512,
        hop_length=128,
        dropout=0.1,
        bins=64,
        frames=32,
        filters=(2, 4),
    )


def fingerprint(path):
    """Some number that tells one version from another."""
    return sum(float(t.double().sum()) for t in read_checkpoint(path).weights.values())


def test_a_model_comes_back_with_its_config_and_its_exact_output(tmp_path):
    model = tiny_model().eval()
    path = save_checkpoint(tmp_path / "雨天 #1" / "a.safetensors", model)
    loaded = load_checkpoint(path)
    assert loaded.config == model.config
    assert not loaded.training
    mixture = torch.randn(1, 2, 3000)
    assert torch.equal(loaded(mixture), model(mixture))


def test_every_name_of_a_checkpoint_works_and_a_folder_means_its_best(tmp_path):
    models = {"last": tiny_model(1), "best": tiny_model(2)}
    for name, model in models.items():
        path = save_checkpoint(tmp_path / f"{name}.safetensors", model)
        assert fingerprint(path) == fingerprint(path.with_suffix(".json"))
        assert fingerprint(tmp_path) == fingerprint(path)
    assert fingerprint(tmp_path) != fingerprint(tmp_path / "last.json")


def test_other_tensors_and_facts_come_back(tmp_path):
    tensors = {"rng": torch.get_rng_state(), "optimizer/0/step": torch.tensor(3.0)}
    facts = {"step": 3, "score": 1.5, "song": "雨天"}
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, tiny_model(), tensors=tensors, facts=facts)
    back = read_checkpoint(path)
    assert back.facts == facts
    assert back.tensors.keys() == tensors.keys()
    assert all(torch.equal(back.tensors[name], tensors[name]) for name in tensors)
    assert back.weights.keys() == tiny_model().state_dict().keys()


def test_facts_with_a_name_that_is_no_utf_8_come_back(tmp_path):
    """File names on Linux may be any bytes, such as those of --init."""
    facts = {"init": "caf\udce9", "song": "Frühling"}
    path = save_checkpoint(tmp_path / "a.safetensors", tiny_model(), facts=facts)
    assert read_checkpoint(path).facts == facts


def test_the_json_says_what_the_tensors_are(tmp_path):
    model = tiny_model()
    path = save_checkpoint(tmp_path / "a.safetensors", model)
    document = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert document["model"] == "spleeter"
    assert document["mssedu"] == mssedu.__version__
    assert document["config"].keys() == dataclasses.asdict(model.config).keys()
    for content in (path.read_bytes(), path.with_suffix(".json").read_bytes()):
        with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError)):
            pickle.loads(content)


def test_tied_weights_can_be_saved(tmp_path):
    model = tiny_model()
    model.networks[1] = model.networks[0]
    path = save_checkpoint(tmp_path / "a.safetensors", model)
    assert torch.equal(
        *(read_checkpoint(path).weights[f"networks.{i}.output.weight"] for i in (0, 1))
    )


@pytest.mark.parametrize("n_saved_before", [1, 2])
def test_a_kill_at_any_moment_leaves_a_whole_version(
    tmp_path, monkeypatch, n_saved_before
):
    """Kill the save before its k-th change on disk, for every k; then save again."""

    class Killed(BaseException):
        pass

    new, old = tiny_model(9), [tiny_model(seed) for seed in range(n_saved_before)]
    replace, committed = Path.replace, []
    for k in itertools.count():
        path = tmp_path / str(k) / "last.safetensors"
        for model in old:
            save_checkpoint(path, model)
        before, calls = fingerprint(path), itertools.count()

        def replace_or_die(self, target, calls=calls, k=k):
            if next(calls) == k:
                raise Killed
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", replace_or_die)
        try:
            save_checkpoint(path, new)
        except Killed:
            committed.append(False)
            assert fingerprint(path) == before
        else:
            committed.append(True)
        monkeypatch.setattr(Path, "replace", replace)
        save_checkpoint(path, new)  # the next run saves over what the kill left
        assert torch.equal(
            load_checkpoint(path).networks[0].output.weight,
            new.networks[0].output.weight,
        )
        if committed[-1]:
            break
    assert committed == [False] * 4 + [True]  # four renames, the last one commits


def test_a_second_kill_does_not_cost_the_version_that_the_first_one_spared(
    tmp_path, monkeypatch
):
    path = save_checkpoint(tmp_path / "last.safetensors", tiny_model(1))
    before, replace = fingerprint(path), Path.replace

    def die_at_the_json(self, target):
        if Path(target).name == "last.json":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", die_at_the_json)
    for seed in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(path, tiny_model(seed))
        assert fingerprint(path) == before


def test_the_version_before_is_kept(tmp_path):
    path = tmp_path / "last.safetensors"
    marks = [fingerprint(save_checkpoint(path, tiny_model(s))) for s in (1, 2, 3)]
    assert fingerprint(path) == marks[2]
    assert fingerprint(previous(path)) == marks[1]


def test_a_full_disk_leaves_the_old_version_and_no_litter(tmp_path, monkeypatch):
    path = save_checkpoint(tmp_path / "last.safetensors", tiny_model(1))
    before = fingerprint(path)

    def no_space(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, tiny_model(2))
    assert fingerprint(path) == before
    assert {file.name for file in tmp_path.iterdir()} == {path.name, "last.json"}


@pytest.mark.parametrize(("n_saved", "remedy"), [(1, "Copy the file"), (2, "previous")])
def test_a_flipped_bit_is_found(tmp_path, n_saved, remedy):
    path = tmp_path / "last.safetensors"
    for seed in range(n_saved):
        save_checkpoint(path, tiny_model(seed))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"damaged: its sha256 is .*{remedy}"):
        load_checkpoint(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no file .*a\.json"):
        load_checkpoint(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"best\.json nor last\.json"):
        load_checkpoint(tmp_path)
    path = save_checkpoint(tmp_path / "a.safetensors", tiny_model())
    path.unlink()
    with pytest.raises(CheckpointError, match=r"no file .*a\.safetensors"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "JSON of a checkpoint .JSONDecodeError"),
        ("[]", "JSON of a checkpoint .TypeError"),
        ("{}", "JSON of a checkpoint .KeyError"),
        ('{"format": 2}', "format 2, .* format 1"),
    ],
)
def test_json_of_something_else_is_refused(tmp_path, text, match):
    path = save_checkpoint(tmp_path / "a.safetensors", tiny_model())
    path.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(path)


def test_content_that_was_never_safetensors_is_refused(tmp_path):
    path = save_checkpoint(tmp_path / "a.safetensors", tiny_model())
    content = b"not tensors"
    digest = module.hashlib.sha256(content).hexdigest()
    document = json.loads(path.with_suffix(".json").read_text("utf-8"))
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps({**document, "sha256": digest}))
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_checkpoint(path)


def test_weights_that_do_not_fit_are_counted_by_part():
    model = nn.ModuleDict({"encoder": nn.Linear(2, 3), "output": nn.Linear(3, 1)})
    weights = {
        "encoder.weight": torch.zeros(2, 2),
        "output.bias": torch.zeros(1),
        "decoder.weight": torch.zeros(1),
        "decoder.bias": torch.zeros(1),
    }
    text = (
        r"x: .* 4 tensors of ModuleDict: missing 2 \(encoder: 1, output: 1\); "
        r"unexpected 2 \(decoder: 2\); misshapen 1 \(encoder: 1\)"
    )
    with pytest.raises(CheckpointError, match=text):
        load_weights(model, weights, "x")


def test_a_config_of_another_version_is_named(tmp_path):
    path = save_checkpoint(tmp_path / "a.safetensors", tiny_model())
    json_path = path.with_suffix(".json")
    json_path.write_text(json_path.read_text("utf-8").replace('"bins"', '"binz"'))
    with pytest.raises(InputError, match="Did you mean 'bins'"):
        load_checkpoint(path)


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.pt"):
        save_checkpoint(tmp_path / "a.pt", tiny_model())
    with pytest.raises(InputError, match="Linear"):
        save_checkpoint(tmp_path / "a.safetensors", nn.Linear(1, 1))
    for fact in (float("nan"), torch.zeros(2)):
        with pytest.raises(InputError, match="facts"):
            save_checkpoint(tmp_path / "a.safetensors", tiny_model(), facts={"x": fact})
    assert not list(tmp_path.iterdir())


def test_the_commit_is_that_of_the_checkout_or_none(tmp_path, monkeypatch):
    git_commit.cache_clear()
    monkeypatch.setattr(mssedu, "__file__", str(tmp_path / "mssedu" / "__init__.py"))
    assert git_commit() is None
    (tmp_path / ".git").write_text("no repository")
    git_commit.cache_clear()
    assert git_commit() is None
    monkeypatch.setenv("PATH", "")
    git_commit.cache_clear()
    assert git_commit() is None
    git_commit.cache_clear()


def test_tensors_are_readable_without_this_package(tmp_path):
    path = save_checkpoint(tmp_path / "a.safetensors", tiny_model())
    plain = safetensors.torch.load_file(path)
    assert plain.keys() == tiny_model().state_dict().keys()
