"""Files keep their samples in place; levels, rates and channels as physics has it."""

import math

import pytest
import soundfile as sf
import torch

from mssedu.audio.tensors import (
    audio_info,
    is_source,
    load_audio,
    loudness_lufs,
    match_channels,
    peak_db,
    resample,
    rms_db,
    save_audio,
)
from mssedu.errors import AudioFileError, InputError
from tests.audio.sounds import FORMATS, STEP, noise


def tone(hz: float, seconds: float, rate: int = 44100) -> torch.Tensor:
    t = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return torch.sin(2 * math.pi * hz * t)[None]


@FORMATS
@pytest.mark.parametrize("samples", [1, 1151, 44100, 100_003])
@pytest.mark.parametrize("channels", [1, 2])
def test_length_is_exact(tmp_path, suffix, samples, channels):
    path = tmp_path / f"a{suffix}"
    save_audio(path, noise(channels, samples), 44100)
    loaded, sample_rate = load_audio(path)
    assert loaded.shape == (channels, samples)
    assert loaded.dtype == torch.float32
    assert sample_rate == 44100
    info = audio_info(path)
    assert (info.sample_rate, info.channels, info.samples) == (44100, channels, samples)


@FORMATS
@pytest.mark.parametrize("n0", [3000, 12345, 39_999])
def test_click_stays_where_it_was(tmp_path, suffix, n0):
    click = torch.zeros(2, 44100)
    click[:, n0] = 0.9
    path = tmp_path / f"a{suffix}"
    save_audio(path, click, 44100)
    assert load_audio(path)[0].abs().argmax(-1).tolist() == [n0, n0]


@FORMATS
def test_part_equals_slice_of_the_whole(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save_audio(path, noise(), 44100)
    whole, rate = load_audio(path)
    for first in (0, 1, 20_000, 44_100, 49_000, 49_999):
        part, _ = load_audio(
            path, start_seconds=first / rate, duration_seconds=700 / rate
        )
        assert part.equal(whole[:, first : first + 700])
    assert load_audio(path, start_seconds=1.0)[0].equal(whole[:, 44100:])


@pytest.mark.parametrize("name", ["雨天 #1", "絆ふぉーえばー ű", "100 % %20 a"])
@FORMATS
def test_any_file_name(tmp_path, suffix, name):
    folder = tmp_path / "雨 天 #"
    folder.mkdir()
    save_audio(folder / f"{name}{suffix}", noise(), 44100)
    assert load_audio(str(folder / f"{name}{suffix}"))[0].shape == (2, 50_000)
    assert [p.name for p in folder.iterdir()] == [f"{name}{suffix}"]


def test_float32_is_kept_exactly_beyond_one(tmp_path):
    audio = 6.35 * torch.randn(2, 1000)
    save_audio(tmp_path / "a.wav", audio, 48000, subtype="float32")
    assert load_audio(tmp_path / "a.wav")[0].equal(audio)
    assert audio_info(tmp_path / "a.wav").codec == "float"


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize(("subtype", "bits"), [("int16", 16), ("int24", 24)])
def test_integers_round_to_nearest(tmp_path, suffix, subtype, bits):
    audio = 0.2 * torch.rand(2, 50_000, dtype=torch.float64) - 0.1
    path = tmp_path / f"a{suffix}"
    save_audio(path, audio, 44100, subtype=subtype, dither_seed=None)
    error = (load_audio(path)[0].double() - audio) * 2 ** (bits - 1)
    assert error.abs().max() <= 0.5 + 1e-9  # float32 holds 24-bit steps exactly
    assert error.mean().abs() < 0.01
    assert audio_info(path).codec == f"pcm_{bits}"


def test_full_scale_fits(tmp_path):
    audio = torch.tensor([[1.0, -1.0, 0.99999]])
    save_audio(tmp_path / "a.wav", audio, 44100)
    assert (load_audio(tmp_path / "a.wav")[0] - audio).abs().max() <= 2 * STEP


def test_dither_frees_the_error_from_the_signal(tmp_path):
    audio = torch.full((1, 100_000), 0.3 * STEP)
    path = tmp_path / "a.wav"
    save_audio(path, audio, 44100, dither_seed=None)
    assert load_audio(path)[0].eq(0).all()  # without it, the level is lost
    save_audio(path, audio, 44100)
    steps = load_audio(path)[0] / STEP
    assert steps.mean().item() == pytest.approx(0.3, abs=0.01)
    # Triangular dither of ±1 step and rounding: 1/6 + 1/12 steps² whatever the level.
    assert steps.var().item() == pytest.approx(0.25, abs=0.01)
    save_audio(path, audio * 1.5, 44100)
    assert (load_audio(path)[0] / STEP).var().item() == pytest.approx(0.25, abs=0.01)


def test_dither_is_seeded(tmp_path):
    audio = noise()
    files = [tmp_path / f"{i}.wav" for i in range(3)]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        save_audio(file, audio, 44100, dither_seed=seed)
    data = [file.read_bytes() for file in files]
    assert data[0] == data[1]
    assert data[0] != data[2]


def test_what_needs_no_rounding_gets_no_dither(tmp_path):
    for audio in (torch.zeros(2, 5000), torch.randint(-99, 99, (2, 5000)) * STEP):
        save_audio(tmp_path / "a.wav", audio, 44100)
        assert load_audio(tmp_path / "a.wav")[0].equal(audio)


@FORMATS
def test_clipping_is_refused(tmp_path, suffix):
    audio = torch.tensor([[0.0, -2.0]])
    with pytest.raises(InputError, match=r"peak of 2 \(\+6\.02 dB\).* audio / 2"):
        save_audio(tmp_path / f"a{suffix}", audio, 44100)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (torch.zeros(9), r"\(9,\)"),
        (torch.zeros(1, 2, 9), r"\(1, 2, 9\)"),
        (torch.zeros(44100, 2), r"44100 channels.* audio\.T"),
        (torch.zeros(2, 0), r"\(2, 0\)"),
        (torch.zeros(2, 9).short(), "torch.int16"),
        (torch.full((1, 9), math.nan), "9 NaN or Inf values"),
    ],
)
def test_only_finite_waveforms_are_saved(tmp_path, audio, words):
    with pytest.raises(InputError, match=words):
        save_audio(tmp_path / "a.wav", audio, 44100)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, error):
    path = tmp_path / "a.wav"
    save_audio(path, noise(), 44100)
    before = path.read_bytes()
    close = sf.SoundFile.close

    def fail_at_the_end(sound):
        close(sound)
        raise error

    monkeypatch.setattr(sf.SoundFile, "close", fail_at_the_end)
    wanted = AudioFileError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(wanted):
        save_audio(path, noise(1, 50_000), 44100)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_relative_paths_are_reported_as_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AudioFileError, match=str(tmp_path / "a.wav")):
        load_audio("a.wav")


@pytest.mark.parametrize(
    ("old", "new"), [(44100, 48000), (48000, 44100), (44100, 16000)]
)
def test_resampled_tone_keeps_frequency_and_amplitude(old, new):
    audio = torch.cat([tone(1000, 1.0, old), 0.5 * tone(3000, 1.0, old)])
    got = resample(audio, old, new)
    want = torch.cat([tone(1000, 1.0, new), 0.5 * tone(3000, 1.0, new)])
    middle = slice(new // 10, -new // 10)  # the ends ring: the tone starts abruptly
    torch.testing.assert_close(got[:, middle], want[:, middle], atol=1e-5, rtol=0)


def test_resampling_removes_what_would_alias():
    middle = resample(tone(15000, 1.0), 44100, 22050)[:, 2000:-2000]
    assert peak_db(middle) < -100


@pytest.mark.parametrize("samples", [1, 2, 7, 999, 44100, 44101])
@pytest.mark.parametrize(("old", "new"), [(44100, 48000), (44100, 8000), (8000, 96000)])
def test_resampled_length_is_rounded(samples, old, new):
    got = resample(torch.zeros(3, 2, samples), old, new)
    assert got.shape == (3, 2, math.floor(samples * new / old + 0.5))


def test_equal_rates_hand_the_same_tensor_back():
    audio = noise()
    assert resample(audio, 44100, 44100) is audio


def test_resample_refuses_what_it_cannot_do():
    with pytest.raises(InputError, match=r"from_rate .*got 0"):
        resample(noise(), 0, 44100)
    with pytest.raises(InputError, match=r"to_rate .*got 0"):
        resample(noise(), 44100, 0)
    with pytest.raises(InputError, match=r"torch\.int16"):
        resample(noise().short(), 44100, 48000)
    with pytest.raises(InputError, match=r"\(2, 0\)"):
        resample(noise(2, 0), 44100, 48000)


def test_match_channels():
    stereo = noise(2, 100)
    assert match_channels(stereo, 2) is stereo
    mono = match_channels(stereo, 1)
    assert mono.equal(stereo.mean(0, keepdim=True))
    assert match_channels(mono[None], 2).equal(torch.cat([mono, mono])[None])
    with pytest.raises(InputError, match="audio has 6 channels, and 2"):
        match_channels(torch.zeros(6, 9), 2)
    with pytest.raises(InputError, match=r"\(9,\)"):
        match_channels(torch.zeros(9), 2)


def test_levels_of_a_sine():
    sine = 0.5 * tone(997, 10.0)
    assert peak_db(sine) == pytest.approx(-6.02, abs=0.01)
    assert rms_db(sine) == pytest.approx(-9.03, abs=0.01)
    # BS.1770: a 997 Hz sine at 0 dB full scale in one channel reads -3.01 LUFS.
    assert loudness_lufs(tone(997, 10.0), 44100) == pytest.approx(-3.01, abs=0.1)
    assert loudness_lufs(sine, 44100) == pytest.approx(-9.03, abs=0.1)


def test_levels_of_silence():
    silence = torch.zeros(2, 44100)
    assert peak_db(silence) == -math.inf
    assert rms_db(silence) == -math.inf
    assert loudness_lufs(silence, 44100) == -math.inf
    assert loudness_lufs(1e-6 * noise(), 44100) == -math.inf  # below the gate


@pytest.mark.parametrize("shape", [(2, 17639), (44100,), (6, 44100)])
def test_loudness_refuses_other_shapes(shape):
    with pytest.raises(InputError, match=r"17640 samples \(0\.4 s\)"):
        loudness_lufs(torch.zeros(shape), 44100)


def test_a_source_is_louder_than_what_a_codec_changes():
    mixture = noise()
    assert is_source(0.11 * mixture, mixture)  # the limit is -20 dB
    assert not is_source(0.09 * mixture, mixture)
