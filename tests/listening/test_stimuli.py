"""From files to sounds that can be compared."""

import io

import pytest
import soundfile
import torch

from mssedu.audio.tensors import loudness_lufs, peak_db, save_audio
from mssedu.errors import AudioFileError, InputError
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.stimuli import Stimuli, encode_stimuli, load_stimuli
from mssedu.listening.widgets.sounds import encode

RATE = 16000


def noise(level, seconds=2.0, seed=0, channels=1):
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(channels, round(seconds * RATE), generator=generator)


def write(folder, name, audio, rate=RATE):
    save_audio(folder / f"{name}.wav", audio, rate, subtype="float32")


@pytest.fixture
def folder(tmp_path):
    for seed, (name, level) in enumerate(
        {"a": 0.05, "b": 0.2, "r": 0.1, "m": 0.3}.items()
    ):
        write(tmp_path, name, noise(level, seed=seed))
    return tmp_path


def design(folder, test="mushra", *, trial=None, **changes):
    part = {"start_seconds": 0.5, "duration_seconds": 1.0} | (trial or {})
    files = {"a": "a.wav", "b": "b.wav"}
    one = Trial("song", files, reference="r.wav", mixture="m.wav", **part)
    changes = {"anchors": ("anchor35", "mixture")} | changes
    return Design("?", test, (one,), folder=folder, **changes)


def test_all_stimuli_one_length_one_loudness(folder):
    test = design(folder)
    found = load_stimuli(test, "song")
    assert {*found.sounds} == {*test.stimuli}
    assert found.sample_rate == RATE
    loudness = {k: loudness_lufs(s, RATE) for k, s in found.sounds.items()}
    for name, sound in found.sounds.items():
        assert sound.shape == (1, RATE)
        assert loudness[name] == pytest.approx(loudness["reference"], abs=0.1)


def test_the_log_contains_each_gain(folder):
    found = load_stimuli(design(folder), "song")
    log = {name: gain for name, gain, _ in found.log()}
    assert log["a"] - log["reference"] == pytest.approx(6.0, abs=0.3)
    assert log["b"] - log["reference"] == pytest.approx(-6.0, abs=0.3)
    raw = noise(0.05, seed=0)[:, RATE // 2 : RATE // 2 + RATE]
    ratio = found.sounds["a"][:, 1000:-1000] / raw[:, 1000:-1000]
    assert torch.allclose(ratio, torch.tensor(10 ** (log["a"] / 20)), rtol=1e-3)


def test_matching_can_be_off(folder):
    found = load_stimuli(design(folder, match_loudness=False, fade_seconds=0), "song")
    part = slice(RATE // 2, RATE // 2 + RATE)
    assert found.gains["b"].note.startswith("as it is")
    gain = 10 ** (found.gains["b"].gain_db / 20)
    assert torch.allclose(found.sounds["b"], noise(0.2, seed=1)[:, part] * gain)


def test_loud_ones_lower_all_alike(folder):
    write(folder, "b", noise(2.0))
    found = load_stimuli(design(folder, match_loudness=False), "song")
    assert max(peak_db(s) for s in found.sounds.values()) == pytest.approx(-1, abs=0.01)
    gains = {gain.gain_db for gain in found.gains.values()}
    assert len(gains) == 1
    assert gains.pop() < -10
    assert "not to clip" in found.gains["a"].note


def test_ends_are_faded(folder):
    found = load_stimuli(design(folder, fade_seconds=0.01), "song")
    for sound in found.sounds.values():
        assert sound[0, 0] == sound[0, -1] == 0
        assert sound[0, :16].abs().max() < sound[0, 200:400].abs().max()
    longest = load_stimuli(design(folder, trial={"duration_seconds": 0.01}), "song")
    assert longest.sounds["a"].shape == (1, 160)


def test_the_files_of_a_trial_must_be_alike(folder):
    write(folder, "b", noise(0.1, seconds=1.2))
    with pytest.raises(InputError, match=r"b\.wav has .* 1 channel, 16000 samples"):
        load_stimuli(design(folder), "song")
    write(folder, "b", noise(0.1, channels=2))
    with pytest.raises(InputError, match="has 16000 Hz, 2 channels"):
        load_stimuli(design(folder), "song")
    write(folder, "b", noise(0.1), rate=2 * RATE)
    with pytest.raises(InputError, match="has 32000 Hz"):
        load_stimuli(design(folder), "song")


def test_nan_and_missing_files(folder):
    (folder / "b.wav").unlink()
    with pytest.raises(AudioFileError):
        load_stimuli(design(folder), "song")
    with pytest.raises(InputError, match="another song"):
        load_stimuli(design(folder), "another song")


def test_mushra_excerpts_are_short(folder):
    for name in "abrm":
        write(folder, name, noise(0.1, seconds=12.5))
    long = {"start_seconds": 0.0, "duration_seconds": None}
    with pytest.raises(InputError, match=r"12\.5 s long"):
        load_stimuli(design(folder, trial=long), "song")
    found = load_stimuli(design(folder, "acr", anchors=(), trial=long), "song")
    assert found.sounds["a"].shape[1] == 12.5 * RATE


def test_anchors_are_the_same_every_time(folder):
    test = design(folder, anchors=("sound_quality",))
    one, two = (load_stimuli(test, "song").sounds["sound_quality"] for _ in range(2))
    assert torch.equal(one, two)
    other = load_stimuli(design(folder, anchors=("sound_quality",), seed=1), "song")
    assert not torch.equal(one, other.sounds["sound_quality"])


def test_sounds_are_encoded_without_loss(folder):
    found = load_stimuli(design(folder), "song")
    encoded = encode_stimuli(found)
    assert [*encoded.files] == [*found.sounds]
    assert encoded.shape == {"sample_rate": RATE, "channels": 1, "samples": RATE}
    for name, file in encoded.files.items():
        samples, rate = soundfile.read(io.BytesIO(file), dtype="int16")
        assert (samples.tobytes(), rate) == (encode(found.sounds[name])[0], RATE)
    assert encode_stimuli(Stimuli({}, RATE, {})).files == {}
