"""manifest.json: what a reader needs in order to repeat a run."""

import json
import subprocess

import pytest
import torch

from mssedu.data.track import Track, data_sha256
from mssedu.models.registry import create_model
from mssedu.training import manifest
from mssedu.training.config import TrainConfig
from mssedu.training.loop import fit

STEMS = ("hum", "hiss")


def song(seed):
    generator = torch.Generator().manual_seed(seed)
    audio = torch.rand(2, 2, 44100, generator=generator) - 0.5
    return Track.from_audio(f"song {seed}", dict(zip(STEMS, audio, strict=True)), 44100)


def test_a_run_writes_it(tmp_path):
    model = create_model("open_unmix", "tiny", STEMS, n_layers=1, hidden=4)
    config = TrainConfig(
        model="open_unmix",
        preset="tiny",
        steps=2,
        batch_size=1,
        segment=0.3,
        device="cpu",
        seed=7,
    )
    recipe = {"name": "own", "sha256": "0" * 64, "settings": ["seed=7"]}
    songs = [song(0)]
    fit(model, songs, [song(1)], config, tmp_path, command={"recipe": recipe})
    found = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    assert found["recipe"] == recipe
    assert found["seed"] == 7
    assert found["steps"] == 2
    assert found["finished"] is True
    assert found["data"]["train"] == data_sha256(songs)
    assert found["environment"]["torch"] == torch.__version__
    assert found["environment"]["threads"] == torch.get_num_threads()
    assert found["environment"]["card"] is None
    assert found["hours"] > 0
    assert found["processor_hours"] > 0
    assert found["energy_kwh"] is None
    assert found["best_step"] == 2


@pytest.mark.parametrize(
    ("answer", "wanted"), [(" M mssedu/errors.py\n", True), ("", False), (None, None)]
)
def test_whether_the_code_is_that_of_the_commit(monkeypatch, answer, wanted):
    def git(command, **options):
        assert command[0] == "git"
        if answer is None:
            raise OSError("no git")
        return subprocess.CompletedProcess(command, 0, stdout=answer)

    manifest.differs_from_commit.cache_clear()
    monkeypatch.setattr(manifest, "git_commit", lambda: "abc")
    monkeypatch.setattr(manifest.subprocess, "run", git)
    assert manifest.differs_from_commit() is wanted
    manifest.differs_from_commit.cache_clear()


def test_the_processor_has_a_name(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name\t: Fast One\n")
    monkeypatch.setattr(manifest, "_CPU_INFO", info)
    manifest.processor_name.cache_clear()
    assert manifest.processor_name() == "Fast One"
    monkeypatch.setattr(manifest, "_CPU_INFO", tmp_path / "none")
    manifest.processor_name.cache_clear()
    assert manifest.processor_name()
    manifest.processor_name.cache_clear()
