"""The short way to a part of a WAV or FLAC file has the samples of the long one."""

import numpy as np
import pytest
import soundfile
import torch

from mssedu.audio.sndfile import read_at_once
from mssedu.audio.tensors import load_audio, save_audio

RATE = 8000


def noise(channels=2, samples=3000):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(channels, samples, generator=generator) * 2 - 1


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_16"),
        ("a.wav", "PCM_24"),
        ("a.wav", "PCM_32"),
        ("a.wav", "PCM_U8"),
        ("a.wav", "FLOAT"),
        ("a.wav", "DOUBLE"),
        ("a.flac", "PCM_16"),
        ("a.flac", "PCM_24"),
        ("a.aiff", "PCM_16"),
        ("a.rf64", "PCM_16"),
    ],
)
def test_the_samples_are_those_of_load_audio(tmp_path, name, subtype, channels):
    path = tmp_path / name
    form = "RF64" if name.endswith("rf64") else None
    soundfile.write(path, noise(channels).T.numpy(), RATE, subtype, format=form)
    for first, length in ((0, 3000), (0, 1), (1234, 500), (2999, 1)):
        out = np.empty((channels, length), np.float32)
        assert read_at_once(out, path, first, 1.0)
        audio, _ = load_audio(path)
        expected = audio[:, first : first + length].numpy()
        assert np.array_equal(out, expected)
        assert read_at_once(out, path, first, -0.3)
        assert np.array_equal(out, expected * np.float32(-0.3))


def test_it_fills_rows_in_any_order(tmp_path):
    path = tmp_path / "a.wav"
    save_audio(path, noise(), RATE)
    out = np.empty((2, 3000), np.float32)
    assert read_at_once(out[::-1], path, 0, 1.0)
    assert np.array_equal(out, load_audio(path)[0].flip(0).numpy())


def test_all_else_is_left_to_load_audio(tmp_path):
    out = np.empty((2, 100), np.float32)
    for suffix in (".ogg", ".mp3"):
        save_audio(tmp_path / f"a{suffix}", noise(), RATE)
        assert not read_at_once(out, tmp_path / f"a{suffix}", 0, 1.0)
    path = tmp_path / "a.wav"
    save_audio(path, noise(), RATE)
    assert not read_at_once(out, path, 2901, 1.0)  # behind the end
    assert not read_at_once(out[:1], path, 0, 1.0)  # other channels
    assert not read_at_once(out, tmp_path / "none.wav", 0, 1.0)
    path.write_bytes(b"RIFF no sound")
    assert not read_at_once(out, path, 0, 1.0)
    for bad in (np.nan, np.inf):
        audio = noise()
        audio[1, 50] = bad
        soundfile.write(path, audio.T.numpy(), RATE, "FLOAT")
        assert not read_at_once(out, path, 0, 1.0)
        assert read_at_once(out, path, 51, 1.0)
