"""A song on disk: looked through before the work, then read as a model wants it."""

import pytest
import soundfile
import torch

from mssedu.audio.tensors import load_audio, resample, save_audio
from mssedu.errors import AudioFileError, InputError
from mssedu.separation.file_config import FileConfig
from mssedu.separation.song import Song


def whole(song, sample_rate, channels):
    return torch.cat(list(song.blocks(sample_rate, channels)), dim=1)


@pytest.fixture
def surround(tmp_path):
    path = tmp_path / "surround.wav"
    levels = torch.arange(1, 7)[:, None] / 10
    save_audio(path, levels.expand(6, 5000), 48000, subtype="float32")
    return path


def test_rate_and_channels_as_the_model_wants_them(tmp_path):
    path = tmp_path / "a.wav"
    save_audio(path, torch.rand(1, 30000) - 0.5, 48000, subtype="float32")
    song = Song.open(path, FileConfig())
    audio = whole(song, 44100, 2)
    assert audio.shape == (2, song.length(44100))
    assert torch.equal(audio[0], audio[1])
    assert (audio[:1] - resample(load_audio(path)[0], 48000, 44100)).abs().max() < 1e-6


def test_more_than_stereo_is_refused_with_its_layout(surround):
    text = r"got 6 channels \(left, right, center, low frequencies.*channels=\(0, 1\)"
    with pytest.raises(InputError, match=text):
        Song.open(surround, FileConfig())


def test_channels_are_picked_or_mixed_down(surround):
    song = Song.open(surround, FileConfig(channels=(4, 1)))
    torch.testing.assert_close(whole(song, 48000, 2)[:, 0], torch.tensor([0.5, 0.2]))
    song = Song.open(surround, FileConfig(downmix=True))
    torch.testing.assert_close(whole(song, 48000, 2)[:, 0], torch.tensor([0.35, 0.35]))
    assert song.channels == 1
    with pytest.raises(InputError, match=r"channels in \[0, 5\], got 6"):
        Song.open(surround, FileConfig(channels=(6,)))


def test_nan_in_a_file_is_named_or_made_zero(tmp_path):
    audio = torch.full((4410,), 0.25)
    audio[441] = torch.nan
    audio[1000] = torch.inf
    path = tmp_path / "nan.wav"
    soundfile.write(path, audio.numpy(), 44100, subtype="FLOAT")
    text = r"nan.wav: .*got 2 NaN or Inf values, the first at sample 441 \(0.010 s\)"
    with pytest.raises(InputError, match=text):
        Song.open(path, FileConfig())
    song = Song.open(path, FileConfig(nonfinite="zero"))
    read = whole(song, 44100, 1)[0]
    assert read[441] == read[1000] == 0
    assert int((read == 0.25).sum()) == 4408


def test_empty_and_missing_files(tmp_path):
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "none.wav", torch.zeros(0, 2).numpy(), 44100)
    for name in ("empty.wav", "none.wav", "missing.wav"):
        with pytest.raises(AudioFileError, match=name):
            Song.open(tmp_path / name, FileConfig())
