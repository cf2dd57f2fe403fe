"""Loudness: matched to a tenth of a dB, or reported as not matched."""

import pytest
import torch

from mssedu.audio.tensors import loudness_lufs, peak_db
from mssedu.errors import InputError
from mssedu.listening.widgets.loudness import (
    Gain,
    match_loudness,
    matching_gain,
    measured_lufs,
    with_headroom,
)

RATE = 44100


def noise(seconds=1.0, level=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(2, round(seconds * RATE), generator=generator)


def test_all_are_as_loud_as_the_reference_which_stays():
    sounds = {
        "reference": noise(level=0.1),
        "quiet": noise(level=0.02, seed=1),
        "loud": noise(level=0.3, seed=2),
    }
    matched, gains = match_loudness(sounds, RATE, to="reference")
    wanted = loudness_lufs(sounds["reference"], RATE)
    for sound in matched.values():
        assert loudness_lufs(sound, RATE) == pytest.approx(wanted, abs=0.01)
    assert torch.equal(matched["reference"], sounds["reference"])
    assert gains["reference"].gain_db == 0
    assert gains["quiet"].gain_db == pytest.approx(13.98, abs=0.1)
    assert gains["loud"].gain_db == pytest.approx(-9.54, abs=0.1)
    before = loudness_lufs(sounds["loud"], RATE)
    assert gains["loud"].note == f"matched from {before:.1f} LUFS"


def test_without_a_reference_the_median_decides():
    sounds = {str(i): noise(level=level) for i, level in enumerate((0.05, 0.1, 0.4))}
    _, gains = match_loudness(sounds, RATE)
    assert gains["1"].gain_db == 0
    silent = {**sounds, "reference": torch.zeros(2, RATE)}
    _, gains = match_loudness(silent, RATE, to="reference")
    assert gains["1"].gain_db == 0


def test_silence_is_left_alone():
    sounds = {"reference": noise(), "silent": torch.zeros(2, RATE)}
    matched, gains = match_loudness(sounds, RATE, to="reference")
    assert not matched["silent"].any()
    assert gains["silent"] == Gain(0.0, "not matched: silent")


def test_what_is_too_short_to_be_measured_is_left_alone():
    sounds = {"reference": noise(0.39), "other": noise(0.39, level=0.2)}
    matched, gains = match_loudness(sounds, RATE, to="reference")
    assert torch.equal(matched["other"], sounds["other"])
    assert gains["other"] == Gain(0.0, "not matched: nothing can be measured")
    assert measured_lufs(sounds["other"], RATE) == (None, "shorter than 0.4 s")
    assert measured_lufs(noise(0.4), RATE)[1] == ""


def test_faint_noise_is_not_amplified_without_limit():
    gain = matching_gain(noise(level=0.001), -20.0, RATE)
    assert gain.gain_db == 20
    assert gain.note.startswith("not matched: +")
    assert gain.note.endswith("dB would be needed")


def test_headroom_is_one_gain_for_all():
    sounds = {"a": 4 * torch.ones(1, 10), "b": torch.ones(1, 10)}
    ready, gain_db = with_headroom(sounds)
    assert peak_db(ready["a"]) == pytest.approx(-1, abs=1e-4)
    assert torch.allclose(ready["a"], 4 * ready["b"])
    assert gain_db == pytest.approx(-1 - 12.04, abs=0.01)


def test_headroom_never_makes_louder():
    sounds = {"a": 0.5 * torch.ones(1, 10)}
    ready, gain_db = with_headroom(sounds)
    assert gain_db == 0
    assert torch.equal(ready["a"], sounds["a"])
    assert with_headroom({"a": torch.zeros(1, 10)})[1] == 0


def test_errors():
    with pytest.raises(InputError, match=r"peak_db .* got 1"):
        with_headroom({"a": torch.ones(1, 1)}, 1)
    with pytest.raises(InputError, match="reference"):
        match_loudness({"a": noise()}, RATE, to="reference")
