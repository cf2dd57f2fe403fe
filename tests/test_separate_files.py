"""Files in, files out: rates, lengths, names, levels, and nothing overwritten."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
import torch
from torch import nn

from mssedu.audio import audio_info, load_audio, save_audio
from mssedu.checks import AudioFileError, InputError
from mssedu.separate_files import find_files, separate_file, track_names


class Halves(nn.Module):
    """Stems that add up to the mixture: gain and 1 - gain of it."""

    def __init__(self, gain=0.25, rate=44100):
        super().__init__()
        self.gain = gain
        self.config = SimpleNamespace(
            stems=("voice", "rest"), sample_rate=rate, channels=2, segment=0.5
        )

    def forward(self, mixture):
        return torch.stack([self.gain * mixture, (1 - self.gain) * mixture], 1)


def tone(channels=2, rate=44100, seconds=0.7, peak=0.5):
    time = torch.arange(round(rate * seconds)) / rate
    return peak * torch.sin(2 * math.pi * 440 * time).repeat(channels, 1)


def test_stems_add_up_at_the_input_rate_and_length(tmp_path):
    song = tmp_path / "絆 #1 ű.wav"
    save_audio(song, tone(), 44100, subtype="float32")
    done = separate_file(Halves(), song, tmp_path / "out", subtype="float32")
    folder = tmp_path / "out" / "絆 #1 ű"
    stems = [load_audio(folder / f"{stem}.wav") for stem in ("voice", "rest")]
    torch.testing.assert_close(stems[0][0] + stems[1][0], tone())
    assert stems[0][1] == 44100
    assert done.sum_residual_db < -100
    assert done.gain_db == 0
    assert json.loads((folder / "separation.json").read_text("utf-8"))["track"] == (
        "絆 #1 ű"
    )


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_rate_channels_and_exact_length_come_back(tmp_path, rate, channels):
    song = tmp_path / "song.wav"
    audio = tone(channels, rate)
    save_audio(song, audio, rate, subtype="float32")
    separate_file(Halves(), song, tmp_path / "out", subtype="float32")
    rest, rest_rate = load_audio(tmp_path / "out" / "song" / "rest.wav")
    assert rest_rate == rate
    assert rest.shape == audio.shape
    middle = slice(rate // 10, -rate // 10)  # the resampler rings at the ends
    error = rest[:, middle] - 0.75 * audio[:, middle]
    assert error.abs().max() < 1e-3


def test_one_joint_gain_only_where_an_integer_format_needs_it(tmp_path):
    song = tmp_path / "loud.wav"
    save_audio(song, tone(peak=0.9), 44100, subtype="float32")
    loud = Halves(gain=2.0)  # stems 2 x and -1 x the mixture: peaks 1.8 and 0.9
    done = separate_file(loud, song, tmp_path / "int", subtype="int24")
    assert done.gain_db == pytest.approx(-20 * math.log10(1.8), abs=0.01)
    voice = load_audio(tmp_path / "int" / "loud" / "voice.wav")[0]
    rest = load_audio(tmp_path / "int" / "loud" / "rest.wav")[0]
    torch.testing.assert_close(voice + rest, tone(peak=0.9) / 1.8, atol=1e-5, rtol=0)
    kept = separate_file(loud, song, tmp_path / "float", subtype="float32")
    assert kept.gain_db == 0
    voice = load_audio(tmp_path / "float" / "loud" / "voice.wav")[0]
    torch.testing.assert_close(voice, 2 * tone(peak=0.9))


def test_nothing_is_overwritten_unless_asked(tmp_path):
    song = tmp_path / "song.wav"
    save_audio(song, tone(), 44100)
    separate_file(Halves(), song, tmp_path / "out")
    with pytest.raises(AudioFileError, match="expected no output yet"):
        separate_file(Halves(), song, tmp_path / "out")
    assert separate_file(Halves(), song, tmp_path / "out", exists="skip") is None
    (tmp_path / "out" / "song" / "separation.json").unlink()  # as if interrupted
    assert separate_file(Halves(), song, tmp_path / "out", exists="skip")
    assert separate_file(Halves(), song, tmp_path / "out", exists="overwrite")


def test_formats_and_template(tmp_path):
    song = tmp_path / "song.wav"
    save_audio(song, tone(), 44100)
    template = "{stem}/{track} 100%.{ext}"
    for ext in ("flac", "mp3", "ogg"):
        separate_file(Halves(), song, tmp_path, ext=ext, template=template)
        stem = tmp_path / "voice" / f"song 100%.{ext}"
        assert audio_info(stem).samples == tone().shape[-1]
        (tmp_path / "separation" / "song 100%.json").unlink()


@pytest.mark.parametrize("template", ["{track}.wav", "{stem}{x}", "/a/{stem}", "{stem"])
def test_bad_templates(tmp_path, template):
    with pytest.raises(InputError, match=r"a relative path with \{stem\}"):
        separate_file(Halves(), "song.wav", tmp_path, template=template)


def test_more_than_stereo_is_refused(tmp_path):
    song = tmp_path / "surround.wav"
    save_audio(song, tone(6), 44100)
    with pytest.raises(InputError, match="expected mono or stereo, got 6 channels"):
        separate_file(Halves(), song, tmp_path / "out")


def test_one_sample_and_silence(tmp_path):
    save_audio(tmp_path / "one.wav", torch.full((1, 1), 0.5), 44100)
    done = separate_file(Halves(), tmp_path / "one.wav", tmp_path)
    assert done.samples == 1
    save_audio(tmp_path / "none.wav", torch.zeros(2, 4000), 44100)
    done = separate_file(Halves(), tmp_path / "none.wav", tmp_path)
    assert done.sum_residual_db is None
    assert not load_audio(tmp_path / "none" / "voice.wav")[0].any()


def test_find_files_in_folders_patterns_and_twice(tmp_path):
    (tmp_path / "b" / "deep").mkdir(parents=True)
    for name in ("a.wav", "b/c.flac", "b/deep/d.ogg"):
        save_audio(tmp_path / name, tone(1, seconds=0.1), 44100)
    (tmp_path / "b" / "notes.txt").write_text("no music")
    found, missing = find_files(
        [tmp_path / "a.wav", tmp_path, tmp_path / "*.wav", tmp_path / "none.wav"]
    )
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["a.wav", "b/c.flac", "b/deep/d.ogg"]
    assert missing == [tmp_path / "none.wav"]
    # a file that exists is taken as named, even if its name looks like a pattern
    save_audio(tmp_path / "odd [1].wav", tone(1, seconds=0.1), 44100)
    assert find_files([tmp_path / "odd [1].wav"])[0] == [tmp_path / "odd [1].wav"]


def test_track_names_differ():
    files = ["x/a.wav", "y/a.wav", "y/a.mp3", "z/B.wav", "z/song.stem.mp4"]
    names = track_names([Path(f) for f in files])
    assert list(names.values()) == [
        *("a (x)", "a (y) (wav)", "a (y) (mp3)", "B", "song"),
    ]


def test_nan_in_a_file_is_named(tmp_path):
    audio = torch.zeros(1, 4410)
    audio[0, 441] = torch.nan
    soundfile.write(tmp_path / "nan.wav", audio[0].numpy(), 44100, subtype="FLOAT")
    with pytest.raises(InputError, match=r"nan.wav: .* at sample 441 \(0.010 s\)"):
        separate_file(Halves(), tmp_path / "nan.wav", tmp_path)
    assert not (tmp_path / "nan").exists()


def test_the_report_holds_the_segment_really_used(tmp_path):
    song, model = tmp_path / "a.wav", Halves()
    save_audio(song, tone(), 44100)
    assert separate_file(model, song, tmp_path / "own").segment == 0.5
    assert separate_file(model, song, tmp_path / "0.3", segment=0.3).segment == 0.3
    model.config.segment_limit = 0.4
    with pytest.warns(UserWarning, match=r"9\.0 s > 0\.4 s trained") as caught:
        assert separate_file(model, song, tmp_path / "9", segment=9).segment == 0.4
    assert len(caught) == 1
    with pytest.raises(InputError, match="as trained"):
        separate_file(model, song, tmp_path / "x", segment=9, strict_segment=True)
