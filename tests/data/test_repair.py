"""A repaired copy: what is fixed in it, what is not, and that the original stays."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mssedu.data.doctor.audit import audit_dataset
from mssedu.data.doctor.repair import repair_dataset
from mssedu.errors import DiskError, InputError

RATE = 8000


def noise(seed, seconds=3):
    """A stereo noise with silence at both ends, so that a shift loses nothing."""
    sound = np.random.default_rng(seed).standard_normal((seconds * RATE, 2)) * 0.05
    sound[:500] = sound[-500:] = 0
    return sound


def shifted(sound, late):
    return np.roll(sound, late, 0)


@pytest.fixture
def songs(tmp_path):
    """Two songs; in the first, each stem has another fault. A text lies beside them."""
    root = tmp_path / "songs"
    for number, name in enumerate(("A", "B")):
        sources = {s: noise(10 * number + n) for n, s in enumerate(("x", "y", "z"))}
        (root / name).mkdir(parents=True)
        sf.write(root / name / "mixture.wav", sum(sources.values()), RATE, "PCM_24")
        if name == "A":
            sources["x"] = -shifted(sources["x"], 120)
            sources["y"] = sources["y"] + 0.02
        for stem, sound in sources.items():
            sf.write(root / name / f"{stem}.wav", sound, RATE, "PCM_24")
    (root / "A" / ".DS_Store").write_bytes(b"x")
    (root / "license.txt").write_text("CC0")
    return root


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def check(path):
    return audit_dataset(path, fingerprints=False)


def rules(found):
    return {(f.rule, f.song, f.stems) for f in found.findings}


def test_the_copy_has_no_fault_and_the_original_stays(songs, tmp_path):
    before, steps = contents(songs), []
    found = check(songs)
    assert rules(found) == {
        ("litter", "", ()),
        ("lag", "A", ("x",)),
        ("polarity", "A", ("x",)),
        ("DC offset", "A", ("y",)),
    }
    out = tmp_path / "out"
    done = repair_dataset(found, out, progress=lambda *step: steps.append(step))
    assert rules(check(out)) == set()
    assert done.not_fixed == []
    assert contents(songs) == before
    copied = contents(out)
    log = json.loads(copied.pop("repairs.json"))
    assert {*copied} == {*before} - {"A/.DS_Store"}
    changed = {"A/x.wav", "A/y.wav"}
    assert all(copied[name] == before[name] for name in copied if name not in changed)
    assert {row["path"] for row in log["changed"]} == changed
    assert log["changed"][0]["changes"] == {"polarity": "inverted", "lag": 120}
    assert log["changed"][1]["changes"]["DC offset"] == pytest.approx([0.02] * 2, 0.1)
    assert (log["left_out"], log["not_fixed"]) == (["A/.DS_Store"], [])
    assert [step[:2] for step in steps] == [(n, 9) for n in range(1, 10)]
    assert sf.info(out / "A" / "x.wav").subtype == "PCM_24"
    expected, _ = sf.read(songs / "B" / "x.wav")
    np.testing.assert_array_equal(sf.read(out / "B" / "x.wav")[0], expected)


def test_a_mixture_that_is_late_is_shifted_alone(songs, tmp_path):
    sound, _ = sf.read(songs / "B" / "mixture.wav")
    sf.write(songs / "B" / "mixture.wav", shifted(sound, 333), RATE, "PCM_24")
    found = check(songs)
    assert ("lag", "B", ("mixture",)) in rules(found)
    done = repair_dataset(found, tmp_path / "out")
    assert "B/mixture.wav" in {row["path"] for row in done.changed}
    assert rules(check(tmp_path / "out")) == set()


@pytest.mark.parametrize(("length", "samples"), [("pad", 3 * RATE), ("cut", 2 * RATE)])
def test_one_length_by_the_rule_that_is_asked(length, samples, songs, tmp_path):
    sound, _ = sf.read(songs / "B" / "x.wav")
    sf.write(songs / "B" / "x.wav", sound[: 2 * RATE], RATE, "PCM_24")
    found = check(songs)
    assert ("length", "B", ("x",)) in rules(found)
    left = repair_dataset(found, tmp_path / "left")
    assert "length" in {finding.rule for finding in left.not_fixed}
    done = repair_dataset(found, tmp_path / "out", length=length)
    assert "length" not in {finding.rule for finding in done.not_fixed}
    for path in (tmp_path / "out" / "B").glob("*.wav"):
        assert sf.info(path).frames == samples
    assert "length" not in {rule for rule, *_ in rules(check(tmp_path / "out"))}


def test_one_sample_rate_if_asked(songs, tmp_path):
    for path in (songs / "B").glob("*.wav"):
        sound, _ = sf.read(path)
        sf.write(path, np.repeat(sound, 2, 0), 2 * RATE, "PCM_24")
    found = check(songs)
    assert "sample rates" in {rule for rule, *_ in rules(found)}
    left = repair_dataset(found, tmp_path / "left")
    assert "sample rates" in {finding.rule for finding in left.not_fixed}
    done = repair_dataset(found, tmp_path / "out", sample_rate=RATE)
    assert "sample rates" not in {finding.rule for finding in done.not_fixed}
    assert {sf.info(p).samplerate for p in (tmp_path / "out").rglob("*.wav")} == {RATE}
    assert {sf.info(p).frames for p in (tmp_path / "out").rglob("*.wav")} == {3 * RATE}


@pytest.mark.parametrize("channels", [1, 2])
def test_one_number_of_channels_if_asked(channels, songs, tmp_path):
    """Of two songs, one is mono, and one has a mono stem."""
    sound, _ = sf.read(songs / "A" / "z.wav")
    sf.write(songs / "A" / "z.wav", sound[:, 0], RATE, "PCM_24")
    for path in (songs / "B").glob("*.wav"):
        sf.write(path, sf.read(path)[0][:, 0], RATE, "PCM_24")
    faults = {"channels", "channel numbers"}
    found = check(songs)
    assert faults <= {rule for rule, *_ in rules(found)}
    left = repair_dataset(found, tmp_path / "left")
    assert faults <= {finding.rule for finding in left.not_fixed}
    out = tmp_path / "out"
    done = repair_dataset(found, out, channels=channels)
    assert not faults & {finding.rule for finding in done.not_fixed}
    assert not faults & {rule for rule, *_ in rules(check(out))}
    changes = {row["path"]: row["changes"].get("channels") for row in done.changed}
    assert changes["A/z.wav" if channels == 2 else "A/mixture.wav"] == channels
    assert {sf.info(path).channels for path in out.rglob("*.wav")} == {channels}
    before, _ = sf.read(songs / "A" / "mixture.wav")
    after, _ = sf.read(out / "A" / "mixture.wav", always_2d=True)
    wanted = before if channels == 2 else before.mean(1, keepdims=True)
    np.testing.assert_allclose(after, wanted, atol=1e-6)


def test_the_rate_of_the_odd_song_for_all(songs, tmp_path):
    """The fault of a song is fixed by changes of the others, too."""
    for path in (songs / "B").glob("*.wav"):
        sf.write(path, sf.read(path)[0], 2 * RATE, "PCM_24")
    done = repair_dataset(check(songs), tmp_path / "out", sample_rate=2 * RATE)
    assert {row["path"][0] for row in done.changed} == {"A"}
    assert done.not_fixed == []


def test_other_numbers_of_channels(songs, tmp_path):
    with pytest.raises(InputError, match="channels must be from 1 to 2, got 3"):
        repair_dataset(check(songs), tmp_path / "out", channels=3)
    for path in songs.rglob("*.wav"):
        sf.write(path, sf.read(path)[0][:, [0, 1, 0]], RATE, "PCM_24")
    done = repair_dataset(check(songs), tmp_path / "out", channels=2)
    assert not any("channels" in row["changes"] for row in done.changed)


def test_a_lossy_file_that_is_changed_becomes_wav(songs, tmp_path):
    for path in (songs / "A").glob("*.wav"):
        sound, _ = sf.read(path)
        sf.write(path.with_suffix(".ogg"), sound, RATE)
        path.unlink()
    done = repair_dataset(check(songs), tmp_path / "out")
    new = {row["path"]: row["new_path"] for row in done.changed}
    assert new["A/y.ogg"] == "A/y.wav"
    assert sf.info(tmp_path / "out" / "A" / "y.wav").subtype == "FLOAT"
    assert (tmp_path / "out" / "A" / "mixture.ogg").exists()
    assert not (tmp_path / "out" / "A" / "y.ogg").exists()


def test_what_needs_a_decision_is_left_and_listed(songs, tmp_path):
    sound, _ = sf.read(songs / "B" / "x.wav")
    sf.write(songs / "B" / "copy.wav", sound, RATE, "PCM_24")
    (songs / "B" / "y.wav").unlink()
    (songs / "B" / "y.wav").symlink_to("nowhere.wav")
    done = repair_dataset(check(songs), tmp_path / "out")
    left = {finding.rule for finding in done.not_fixed}
    assert {"same audio", "dangling link"} <= left
    assert "B/y.wav" in done.left_out
    log = json.loads((tmp_path / "out" / "repairs.json").read_text("utf-8"))
    assert {row["rule"] for row in log["not_fixed"]} == left


def test_only_a_new_folder_outside_of_the_data_is_written(songs, tmp_path, monkeypatch):
    found = check(songs)
    with pytest.raises(InputError, match="is not an empty folder"):
        repair_dataset(found, songs)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is not an empty folder"):
        repair_dataset(found, tmp_path / "file")
    with pytest.raises(InputError, match="is inside the data set"):
        repair_dataset(found, songs / "fixed")
    with pytest.raises(InputError, match="--fix copies a folder"):
        repair_dataset(check(songs / "A" / "x.wav"), tmp_path / "out")
    monkeypatch.setattr("mssedu.audio.disk.free_bytes", lambda path: 10)
    with pytest.raises(DiskError, match="too full"):
        repair_dataset(found, Path(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
