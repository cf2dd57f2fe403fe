"""Estimates from models, files and functions; lags; what a track is."""

import pytest
import torch
from torch import nn

from mssedu.audio.names import file_name
from mssedu.audio.tensors import save_audio
from mssedu.data.loading import load_track
from mssedu.data.track import Track
from mssedu.errors import AudioFileError, DatasetError, InputError, MssEduWarning
from mssedu.evaluation.estimates import (
    FileEstimates,
    FunctionEstimates,
    ModelEstimates,
    content_sha256,
)
from mssedu.separation.config import SeparateConfig
from tests.evaluation.test_run import RATE, STEMS, Config


class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.5))
        self.config = Config()

    def forward(self, mixture):
        return (self.share * mixture)[:, None].repeat(1, 2, 1, 1)


@pytest.fixture
def track():
    audio = torch.randn(2, 2, 12000, generator=torch.Generator().manual_seed(0)) / 10
    return Track.from_audio("a song", dict(zip(STEMS, audio, strict=True)), RATE)


@pytest.fixture
def saved(track, tmp_path):
    """The true stems as files of estimates."""
    for stem in STEMS:
        path = tmp_path / "out" / track.name / f"{stem}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_audio(path, track.stem(stem), RATE, subtype="float32")
    return tmp_path / "out"


# ---- models -------------------------------------------------------------------------


def test_a_model_gives_its_estimates_and_says_what_it_is(track):
    made = ModelEstimates(Halves(), SeparateConfig(overlap=0.5))
    made.check(track, align=False)
    torch.testing.assert_close(made(track)[0], track.mixture() / 2)
    assert made.identity(track)["settings"]["overlap"] == 0.5
    other = Halves()
    nn.init.constant_(other.share, 0.4)
    weights = [ModelEstimates(m).about["weights_sha256"] for m in (Halves(), other)]
    assert made.about["weights_sha256"] == weights[0] != weights[1]


def test_two_stems_are_scored_against_the_sum_of_the_others(track):
    made = ModelEstimates(Halves(), SeparateConfig(two_stems="voice"))
    assert made.stems == ("voice", "no_voice")
    assert made(track).shape == (2, 2, 12000)
    chosen = track.with_stems(made.grouping)
    assert torch.equal(chosen.stem("no_voice"), track.stem("rest"))
    assert torch.equal(chosen.mixture(), track.mixture())


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [6000, 16000])
def test_another_format_is_converted_and_announced(track, rate, channels):
    model = Halves()
    model.config = Config(sample_rate=rate, channels=channels)
    made = ModelEstimates(model)
    with pytest.warns(MssEduWarning, match=f"songs have 8000 Hz × 2, the .*{rate} Hz"):
        made.check(track, align=False)
    estimate = made(track)
    assert estimate.shape == (2, 2, 12000)
    mixture = track.mixture()
    if channels == 1:
        mixture = mixture.mean(0, keepdim=True).expand(2, -1)
    kept = torch.fft.rfft(estimate[0] - mixture / 2)[:, :4000]  # below 2.7 kHz
    assert kept.abs().max() < 1e-2 * torch.fft.rfft(mixture).abs().max()


def test_a_song_of_six_channels_is_refused_by_name():
    sound = {stem: torch.rand(6, 100) for stem in STEMS}
    surround = Track.from_audio("concert", sound, RATE)
    with pytest.raises(InputError, match=r"concert has 6 channels, .* model takes 2"):
        ModelEstimates(Halves()).check(surround, align=False)


def test_the_rest_of_two_stems_is_exact_at_the_rate_of_the_song(track):
    model = Halves()
    model.config = Config(sample_rate=6000)
    one, rest = ModelEstimates(model, SeparateConfig(two_stems="voice"))(track)
    assert torch.equal(one + rest, one + (track.mixture() - one))


def test_a_grouped_model_is_compared_with_its_group(track):
    model = Halves()
    model.grouping = ("voice", "rest=-voice")
    made = ModelEstimates(model, SeparateConfig(two_stems="rest"))
    assert (made.stems, made.grouping) == (
        ("rest", "no_rest"),
        ("rest=-voice", "no_rest"),
    )


# ---- files --------------------------------------------------------------------------


def test_files_are_read_and_told_apart_by_content(track, saved):
    made = FileEstimates(saved, STEMS)
    made.check(track, align=False)
    torch.testing.assert_close(made(track), track.sources())
    before = made.identity(track)
    louder = 2 * track.stem("voice")
    save_audio(saved / track.name / "voice.wav", louder, RATE, subtype="float32")
    after = made.identity(track)
    assert before["voice"] != after["voice"]
    assert before["rest"] == after["rest"]


def test_the_template_finds_other_layouts(track, saved):
    (saved / "voice").mkdir()
    (saved / track.name / "voice.wav").rename(saved / "voice" / "x_a song.wav")
    made = FileEstimates(saved, ("voice",), "{stem}/x_{track}.wav")
    assert made(track).shape == (1, 2, 12000)


@pytest.mark.parametrize("template", ["{stem}.wav", "{track}.wav", "{song}", "{"])
def test_templates_that_mix_up_files(template, tmp_path):
    with pytest.raises(InputError, match=r"\{track\} and \{stem\}"):
        FileEstimates(tmp_path, STEMS, template)


def test_missing_folder_and_files(track, saved, tmp_path):
    with pytest.raises(DatasetError, match="none is no folder"):
        FileEstimates(tmp_path / "none", STEMS)
    (saved / track.name / "rest.wav").unlink()
    with pytest.raises(AudioFileError, match=r"rest\.wav.* holds a song"):
        FileEstimates(saved, STEMS).check(track, align=False)


def test_other_formats_name_both_sides(track, saved):
    path = saved / track.name / "rest.wav"
    made = FileEstimates(saved, STEMS)
    save_audio(path, torch.zeros(1, 12000), RATE)
    both = r"rest\.wav has 8000 Hz, 1 channel, .*'a song' has 8000 Hz, 2 channels"
    with pytest.raises(InputError, match=both):
        made.check(track, align=True)
    save_audio(path, torch.zeros(2, 12000), 16000)
    with pytest.raises(InputError, match="16000 Hz, 2 channels"):
        made.check(track, align=False)
    save_audio(path, torch.zeros(2, 11000), RATE)
    with pytest.raises(InputError, match="11000 samples"):
        made.check(track, align=False)
    made.check(track, align=True)


def test_a_true_stem_from_disk_is_named(saved):
    track = load_track(saved / "a song")
    (saved / "est").mkdir()
    save_audio(saved / "est" / "a song voice.wav", torch.zeros(2, 5), RATE)
    made = FileEstimates(saved / "est", ("voice",), "{track} {stem}.wav")
    with pytest.raises(InputError, match=r"voice\.wav has .*a song.*\.wav has"):
        made.check(track, align=False)


def test_nan_in_a_file_names_it_and_the_second(track, saved):
    audio = track.stem("voice")
    audio[0, 4000] = torch.nan
    path = saved / track.name / "voice.wav"
    import soundfile

    soundfile.write(path, audio.T.numpy(), RATE, subtype="FLOAT")
    with pytest.raises(InputError, match=r"voice\.wav.*sample 4000 \(0\.500 s\)"):
        FileEstimates(saved, STEMS)(track)


def test_names_that_no_file_can_have_are_found_too(track, saved):
    """`evaluate` writes the stems of such a song under another name."""
    odd = Track.from_audio("a:song?", dict(track.audio), RATE)
    made = FileEstimates(saved, STEMS)
    with pytest.raises(AudioFileError, match="a:song"):
        made.check(odd, align=False)
    (saved / track.name).rename(saved / file_name(odd.name))
    made.check(odd, align=False)
    torch.testing.assert_close(made(odd), odd.sources())


# ---- functions ----------------------------------------------------------------------


def test_a_function_is_called_and_never_trusted_to_be_the_same(track):
    made = FunctionEstimates(lambda t: t.sources(), STEMS)
    made.check(track, align=False)
    assert made.identity(track) is None
    assert made.about == {"function": "<lambda>"}
    assert torch.equal(made(track), track.sources())


# ---- what a track is ----------------------------------------------------------------


def test_content_is_told_by_samples_or_files(track, saved):
    again = Track.from_audio(
        track.name, {stem: track.stem(stem) for stem in STEMS}, RATE, split="test"
    )
    assert content_sha256(again) == content_sha256(track)
    changed = {"voice": track.stem("voice") * 0.5, "rest": track.stem("rest")}
    assert content_sha256(
        Track.from_audio(track.name, changed, RATE)
    ) != content_sha256(track)
    files = load_track(saved / track.name)
    before = content_sha256(files)
    assert content_sha256(files.with_stems(["voice"])) == before
    assert content_sha256(files.in_memory()) == before
    moved = saved.rename(saved.with_name("elsewhere"))
    assert content_sha256(load_track(moved / track.name)) == before
    save_audio(moved / track.name / "rest.wav", changed["voice"], RATE)
    assert content_sha256(load_track(moved / track.name)) != before
