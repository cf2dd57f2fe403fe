"""Files in, files out: rates, lengths, names, levels, and nothing overwritten."""

import hashlib
import json
import math
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mssedu.audio.tensors import (
    audio_info,
    load_audio,
    match_channels,
    resample,
    save_audio,
)
from mssedu.errors import AudioFileError, InputError
from mssedu.inspect.complexity import peak_memory
from mssedu.separation.files import separate_file
from mssedu.separation.tensors import separate
from mssedu.weights.checkpoint import weights_sha256
from tests.audio.test_containers import encode


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


class Convolution(nn.Module):
    """Two stems that depend on what lies around, and on where in the chunk."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Conv1d(2, 4, 301, padding=150)
        self.config = SimpleNamespace(
            stems=("voice", "rest"), sample_rate=44100, channels=2, segment=0.4
        )

    def forward(self, mixture):
        return self.layer(mixture).tanh().unflatten(1, (2, 2))


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


SOUNDS = [(rate, channels) for rate in (44100, 48000, 22050) for channels in (1, 2)]
SETTINGS = [
    {"overlap": 0.6, "batch_size": 3, "window": "hann"},
    {"context": 0.1, "segment": 0.2},
    {"shifts": 3, "tta": True, "wiener": 1, "consistency": "energy"},
]


@pytest.mark.parametrize(
    ("rate", "channels", "settings"),
    [(rate, channels, {}) for rate, channels in SOUNDS]
    + [(*sound, each) for each in SETTINGS for sound in ((44100, 2), (22050, 1))],
)
def test_the_same_numbers_as_in_memory(tmp_path, rate, channels, settings):
    """Streamed from disk to disk, or all at once: no difference."""
    model, song = Convolution(), tmp_path / "song.wav"
    save_audio(song, torch.rand(channels, 2 * rate) - 0.5, rate, subtype="float32")
    done = separate_file(model, song, tmp_path / "o", subtype="float32", **settings)
    mixture = match_channels(load_audio(song)[0], 2)
    mixture = resample(mixture, rate, 44100)
    estimate = separate(model, mixture, seed=done.seed, **settings)
    estimate = match_channels(resample(estimate, 44100, rate), channels)
    for name, stem in zip(model.config.stems, estimate, strict=True):
        written = load_audio(tmp_path / "o" / "song" / f"{name}.wav")[0]
        assert written.shape == stem.shape
        assert (written - stem).abs().max() <= 1e-6


@pytest.mark.parametrize("ext", ["flac", "mp3"])
def test_the_rest_of_two_stems_is_the_mixture_without_it(tmp_path, ext):
    song = tmp_path / f"song.{ext}"
    save_audio(song, 0.4 * torch.rand(1, 30000) - 0.2, 48000)
    options = {"two_stems": "rest", "subtype": "float32"}
    done = separate_file(Convolution(), song, tmp_path, **options)
    assert list(done.stems) == ["rest", "no_rest"]
    stem, rest = (load_audio(tmp_path / path)[0] for path in done.stems.values())
    mixture = load_audio(song)[0]
    assert torch.equal(rest, mixture - stem)
    assert done.sum_residual_db < -120


def test_only_the_stems_that_are_wanted(tmp_path):
    song = tmp_path / "song.wav"
    save_audio(song, tone(), 44100)
    done = separate_file(Halves(), song, tmp_path, stems=("rest",))
    assert list(done.stems) == ["rest"]
    assert done.sum_residual_db is None
    assert not (tmp_path / "song" / "voice.wav").exists()


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
    with pytest.raises(AudioFileError, match=r"voice.wav exists"):
        separate_file(Halves(), song, tmp_path / "out")
    assert separate_file(Halves(), song, tmp_path / "out", exists="skip") is None
    (tmp_path / "out" / "song" / "separation.json").unlink()  # as if interrupted
    assert separate_file(Halves(), song, tmp_path / "out", exists="skip")
    assert separate_file(Halves(), song, tmp_path / "out", exists="overwrite")


def test_skip_compares_the_song_the_weights_and_the_options(tmp_path):
    song, out = tmp_path / "a.wav", tmp_path / "out"
    save_audio(song, tone(), 44100)
    model = Convolution()
    separate_file(model, song, out)
    same = {"exists": "skip", "batch_size": 2, "segment": 0.4}
    assert separate_file(model, song, out, **same) is None
    for options, text in (
        ({"shifts": 2}, "other options: shifts"),
        ({"subtype": "int24", "overlap": 0.5}, "other options: overlap, subtype"),
    ):
        with pytest.raises(AudioFileError, match=text):
            separate_file(model, song, out, exists="skip", **options)
    with torch.no_grad():
        model.layer.bias += 1
    with pytest.raises(AudioFileError, match="other weights"):
        separate_file(model, song, out, exists="skip")
    save_audio(song, tone(peak=0.25), 44100)
    with pytest.raises(AudioFileError, match="another song"):
        separate_file(model, song, out, exists="skip")
    (out / "a" / "separation.json").write_text("[]")
    with pytest.raises(AudioFileError, match="unknown origin"):
        separate_file(model, song, out, exists="skip")


def test_formats_and_template(tmp_path):
    song = tmp_path / "song.wav"
    save_audio(song, tone(), 44100)
    template = "{stem}/{track} 100%.{ext}"
    for ext in ("flac", "mp3", "ogg"):
        separate_file(Halves(), song, tmp_path, ext=ext, template=template)
        stem = tmp_path / "voice" / f"song 100%.{ext}"
        assert audio_info(stem).samples == tone().shape[-1]
        (tmp_path / "separation" / "song 100%.json").unlink()


def test_one_sample_and_silence(tmp_path):
    save_audio(tmp_path / "one.wav", torch.full((1, 1), 0.5), 44100)
    done = separate_file(Halves(), tmp_path / "one.wav", tmp_path)
    assert done.samples == 1
    save_audio(tmp_path / "none.wav", torch.zeros(2, 4000), 44100)
    with pytest.warns(UserWarning, match="the input is silent"):
        done = separate_file(Halves(), tmp_path / "none.wav", tmp_path)
    assert done.sum_residual_db is None
    assert not load_audio(tmp_path / "none" / "voice.wav")[0].any()


def test_the_report_holds_the_segment_really_used(tmp_path):
    song, model = tmp_path / "a.wav", Halves()
    save_audio(song, tone(), 44100)
    assert separate_file(model, song, tmp_path / "own").segment == 0.5
    assert separate_file(model, song, tmp_path / "0.3", segment=0.3).segment == 0.3
    model.config.segment_limit = 0.4
    with pytest.warns(UserWarning, match=r"9\.0 s.*at most 0\.4 s") as caught:
        assert separate_file(model, song, tmp_path / "9", segment=9).segment == 0.4
    assert len(caught) == 1
    with pytest.raises(InputError, match=r"at most 0\.4 s"):
        separate_file(model, song, tmp_path / "x", segment=9, strict_segment=True)


def test_the_report_tells_what_was_done(tmp_path):
    song, model = tmp_path / "song.wav", Halves(gain=2.0)
    save_audio(song, tone(peak=0.9), 44100, subtype="float32")
    done = separate_file(model, song, tmp_path, seed=5, overlap=0.5)
    text = (tmp_path / "song" / "separation.json").read_text("utf-8")
    saved = json.loads(text)
    assert saved == json.loads(json.dumps(asdict(done)))
    assert saved["input_sha256"] == hashlib.sha256(song.read_bytes()).hexdigest()
    assert saved["weights_sha256"] == weights_sha256(model)
    assert saved["input_peak"] == pytest.approx(0.9, abs=1e-4)
    assert saved["peak"] == pytest.approx(1.8, abs=1e-3)
    assert saved["gain_db"] == pytest.approx(-5.1, abs=0.01)
    assert saved["settings"]["overlap"] == 0.5
    assert saved["settings"]["subtype"] == "int16"
    assert saved["seed"] != 5  # mixed with the content of the file
    assert saved["device"] == "cpu"
    assert saved["seam_db"] < 1  # the tone runs through
    assert saved["peak_memory_mb"] > 0


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        ("clamp", lambda x: (1.8 * x).clamp(-1, 1)),
        ("tanh", lambda x: (1.8 * x).tanh()),
        ("rescale", lambda x: x),
    ],
)
def test_clip_modes(tmp_path, clip, expected):
    song = tmp_path / "loud.wav"
    save_audio(song, tone(peak=0.9), 44100, subtype="float32")
    options = {"clip": clip, "subtype": "int24"}
    done = separate_file(Halves(gain=2.0), song, tmp_path, **options)
    voice = load_audio(tmp_path / "loud" / "voice.wav")[0]
    torch.testing.assert_close(voice, expected(tone(peak=1.0)), atol=2e-5, rtol=0)
    over = int((1.8 * tone(peak=1.0)).abs().gt(1).sum())
    assert done.n_clipped == (0 if clip == "rescale" else pytest.approx(over, abs=8))


def test_what_would_be_clipped_unasked_is_refused(tmp_path):
    song = tmp_path / "loud.wav"
    save_audio(song, tone(peak=0.9), 44100, subtype="float32")
    with pytest.raises(InputError, match="±1"):
        separate_file(Halves(gain=2.0), song, tmp_path / "o", clip="none")
    assert not list((tmp_path / "o").rglob("*.*"))
    options = {"clip": "none", "subtype": "float32"}
    separate_file(Halves(gain=2.0), song, tmp_path / "o", **options)
    voice = load_audio(tmp_path / "o" / "loud" / "voice.wav")[0]
    torch.testing.assert_close(voice, 2 * tone(peak=0.9))


def test_dither_is_seeded_and_another_for_each_stem(tmp_path):
    song = tmp_path / "quiet.wav"
    save_audio(song, tone(peak=1e-4), 44100, subtype="float32")

    def stems(folder, **options):
        separate_file(Halves(gain=0.5), song, tmp_path / folder, **options)
        folder = tmp_path / folder / "quiet"
        return [load_audio(folder / f"{name}.wav")[0] for name in ("voice", "rest")]

    first, again = stems("a"), stems("b")
    assert all(map(torch.equal, first, again))
    assert not torch.equal(*first)  # equal stems, different noise
    other, none = stems("c", seed=1), stems("d", dither=False)
    assert not torch.equal(first[0], other[0])
    assert torch.equal(*none)


def test_rate_and_channels_of_the_model_on_request(tmp_path):
    song = tmp_path / "mono.wav"
    save_audio(song, tone(1, 22050), 22050)
    options = {"keep_stereo": True, "out_rate": "model", "two_stems": "voice"}
    done = separate_file(Halves(), song, tmp_path, **options)
    audio, rate = load_audio(tmp_path / "mono" / "no_voice.wav")
    assert (rate, audio.shape) == (44100, (2, 30870))
    assert (done.sample_rate, done.channels, done.samples) == (44100, 2, 30870)


def test_a_part_of_a_song(tmp_path):
    song = tmp_path / "song.flac"
    save_audio(song, torch.rand(2, 44100) - 0.5, 44100)
    part = {"start_seconds": 0.3, "duration_seconds": 0.25}
    done = separate_file(Halves(), song, tmp_path, two_stems="voice", **part)
    assert done.samples == 11025
    assert done.song_seconds == 1.0


class Interrupted(Halves):
    """The user presses Ctrl-C at the third chunk."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, mixture):
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().forward(mixture)


@pytest.mark.parametrize("subtype", ["int16", "float32"])
def test_an_interrupt_leaves_no_half_files_and_a_rerun_goes_on(tmp_path, subtype):
    out = tmp_path / "out"
    for name in "ab":
        save_audio(tmp_path / f"{name}.wav", torch.rand(2, 88200) - 0.5, 44100)
    options = {"subtype": subtype, "exists": "skip"}
    assert separate_file(Halves(), tmp_path / "a.wav", out, **options)
    with pytest.raises(KeyboardInterrupt):
        separate_file(Interrupted(), tmp_path / "b.wav", out, **options)
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    assert files == ["a/rest.wav", "a/separation.json", "a/voice.wav"]
    assert separate_file(Halves(), tmp_path / "a.wav", out, **options) is None
    assert separate_file(Halves(), tmp_path / "b.wav", out, **options)


def test_memory_running_out_begins_the_file_again(tmp_path):
    class Hungry(Halves):
        def forward(self, mixture):
            if mixture.shape[-1] > 50000:
                raise torch.OutOfMemoryError("out of memory")
            return super().forward(mixture)

    song = tmp_path / "song.wav"
    save_audio(song, tone(seconds=5), 44100)
    with pytest.warns(UserWarning, match="segment 2 to 1 s, from the start"):
        done = separate_file(Hungry(), song, tmp_path, segment=2, subtype="float32")
    assert done.segment == 1.0
    assert done.sum_residual_db < -100
    assert done.peak == pytest.approx(0.375, abs=1e-3)


def test_memory_does_not_grow_with_the_song(tmp_path):
    """All tensors alive at once, in a song of 10 s and in one of 60 s."""
    peaks = []
    for seconds in (10, 60):
        song = tmp_path / f"{seconds}.flac"
        save_audio(song, 0.1 * torch.randn(2, seconds * 44100), 44100)
        with peak_memory(torch.device("cpu")) as peak:
            separate_file(Convolution(), song, tmp_path)
        peaks.append(peak())
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 10e6


@pytest.mark.parametrize("ext", ["mp3", "m4a", "ogg", "flac"])
def test_a_click_stays_at_its_sample(tmp_path, ext):
    """Encoders put samples before the music; the stems must not be late by them."""
    audio = torch.zeros(2, 30000)
    audio[:, 12345] = 0.9
    song = tmp_path / f"click.{ext}"
    if ext == "m4a":
        encode(song, audio)
    else:
        save_audio(song, audio, 44100)
    done = separate_file(Halves(gain=1.0), song, tmp_path, subtype="float32")
    voice = load_audio(tmp_path / "click" / "voice.wav")[0]
    assert abs(int(voice[0].abs().argmax()) - 12345) <= 1
    assert voice.shape[1] == done.samples == audio_info(song).samples == 30000


def test_what_is_beyond_full_scale_or_off_center_is_left_so(tmp_path):
    song = tmp_path / "hot.wav"
    audio = 1.7 * tone(peak=1.0) + 0.1
    save_audio(song, audio, 44100, subtype="float32")
    done = separate_file(Halves(gain=1.0), song, tmp_path, subtype="float32")
    assert done.input_peak == pytest.approx(1.8, abs=1e-3)
    torch.testing.assert_close(load_audio(tmp_path / "hot" / "voice.wav")[0], audio)
