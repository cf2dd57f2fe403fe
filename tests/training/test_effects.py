"""Effects in a run: settings reach the examples, config.json, and a resumed run."""

import dataclasses
import json

import pytest
import torch

from mssedu.data.track import Track
from mssedu.errors import InputError
from mssedu.models.registry import create_model
from mssedu.training.batches import create_segments
from mssedu.training.config import TrainConfig
from mssedu.training.loop import fit
from mssedu.training.runs import config_of_run, read_run

RATE = 8000
CONFIG = TrainConfig(
    model="open_unmix",
    preset="tiny",
    stems=("hum", "hiss"),
    steps=2,
    batch_size=1,
    segment=0.5,
    device="cpu",
    effects=("eq", "reverb"),
    effect_probability=0.5,
)


def song(name: str = "Song") -> Track:
    generator = torch.Generator().manual_seed(0)
    stems = {n: 0.1 * torch.randn(2, RATE, generator=generator) for n in CONFIG.stems}
    return Track.from_audio(name, stems, RATE)


def run(config, folder, **options):
    model = create_model(config.model, config.preset, config.stems, sample_rate=RATE)
    lines: list[str] = []
    fit(model, [song()], None, config, folder, log=lines.append, **options)
    return lines


def test_settings_reach_the_examples() -> None:
    config = dataclasses.replace(CONFIG, mixup=0.2, matched=True)
    segments = create_segments([song()], config)
    assert segments.effects == ("eq", "reverb")
    assert segments.effect_probability == 0.5
    assert (segments.mixup, segments.matched) == (0.2, True)
    assert create_segments([song()], TrainConfig(stems=("hum", "hiss"))).effects == ()


def test_the_run_says_what_it_does_to_the_stems(tmp_path) -> None:
    lines = run(dataclasses.replace(CONFIG, matched=True), tmp_path)
    assert "songs that fit no other, and stay alone: 1" in lines
    document = read_run(tmp_path)
    assert document["train_config"]["effects"] == ["eq", "reverb"]
    assert config_of_run(document).effects == ("eq", "reverb")


def test_a_run_from_before_the_effects_goes_on(tmp_path) -> None:
    config = dataclasses.replace(CONFIG, effects=(), effect_probability=0.1)
    run(config, tmp_path)
    path = tmp_path / "config.json"
    document = json.loads(path.read_text("utf-8"))
    for name in ("effects", "effect_probability", "mixup", "matched"):
        del document["train_config"][name]
    path.write_text(json.dumps(document), "utf-8")
    assert config_of_run(read_run(tmp_path)).effects == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"effects": ("ec",)}, "unknown effect 'ec'"),
        ({"effect_probability": -1}, "effect_probability .*got -1"),
        ({"mixup": 2}, "mixup .*got 2"),
    ],
)
def test_wrong_settings(changes, message) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig(**changes)
