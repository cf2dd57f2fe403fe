"""Mixes of recordings: exact sums, no leaks, the same files also after a kill."""

import itertools
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import torch

from mssedu.audio.tensors import load_audio, loudness_lufs, peak_db
from mssedu.data.building import mixes, recordings
from mssedu.data.building.mixes import build_dataset
from mssedu.data.building.recipe import BuildConfig
from mssedu.data.doctor.audit import audit_dataset
from mssedu.data.finding import describe_songs, find_songs
from mssedu.data.loading import load_dataset
from mssedu.data.segments import RandomSegments
from mssedu.data.track import data_sha256, track_sha256
from mssedu.errors import DatasetError, DiskError, InputError, MssEduWarning
from mssedu.evaluation.estimates import content_sha256

RATE = 8000
STEMS = ("dizi", "pipa", "yangqin")
CONFIG = BuildConfig(
    mixes=12,
    seconds=1.0,
    sample_rate=RATE,
    split=(0.5, 0.25, 0.25),
    subtype="float32",
    license=tuple(f"{stem}=CC0" for stem in STEMS),
)


def noise(seed, seconds, *, level=0.1, channels=2, rate=RATE):
    random = np.random.default_rng(seed)
    return level * random.standard_normal((round(seconds * rate), channels))


def write(path, sound, rate=RATE, **kinds):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, sound, rate, **kinds)


@pytest.fixture
def folder(tmp_path):
    """Four recordings of each stem, of 3 s, with a second of silence before them."""
    for number, (stem, n) in enumerate(itertools.product(STEMS, range(4))):
        sound = noise(number, 3.0, level=0.02 * 2 ** (number % 3))
        sound = np.concatenate([np.zeros((RATE, 2)), sound])
        write(tmp_path / "in" / stem / f"{stem} {n}.wav", sound, subtype="FLOAT")
    return tmp_path / "in"


def contents(out):
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }


# ---- what is in the mixes -----------------------------------------------------------


def test_mixes_are_sums_of_scaled_excerpts(folder, tmp_path):
    document = build_dataset(folder, tmp_path / "out", CONFIG)
    tracks = {track.name: track for track in load_dataset(tmp_path / "out")}
    assert len(tracks) == len(document["mixes"]) == 12
    for mix in document["mixes"]:
        track = tracks[mix["name"]]
        assert track.split == mix["split"]
        assert track.stems == STEMS
        assert track.n_samples == RATE
        for stem, row in mix["stems"].items():
            assert row["source"].startswith(f"{stem}/")
            recording, _ = load_audio(folder / row["source"])
            excerpt = recording[:, row["start"] : row["start"] + RATE]
            assert torch.equal(track.stem(stem), excerpt * row["factor"])
        assert torch.equal(track.mixture(), track.sources().sum(0))


def test_no_recording_is_in_two_splits(folder, tmp_path):
    document = build_dataset(folder, tmp_path / "out", CONFIG)
    used = {}
    for mix in document["mixes"]:
        for row in mix["stems"].values():
            used.setdefault(row["source"], set()).add(mix["split"])
    assert all(len(splits) == 1 for splits in used.values())
    named = {row["path"]: {row["split"]} for row in document["sources"]}
    assert used.items() <= named.items()
    counts = [
        len(load_dataset(tmp_path / "out", s)) for s in ("train", "valid", "test")
    ]
    assert counts == [6, 3, 3]


def test_pieces_of_a_recording_stay_in_one_split(folder, tmp_path):
    for n in range(4):
        for piece in (1, 2):
            name = f"long {n} part {piece}.wav"
            write(folder / "dizi" / name, noise((9, n, piece), 2))
    document = build_dataset(folder, tmp_path / "out", CONFIG)
    splits = {row["path"]: row["split"] for row in document["sources"]}
    for n in range(4):
        first, second = (splits[f"dizi/long {n} part {piece}.wav"] for piece in (1, 2))
        assert first == second


def test_gains_are_in_their_range_and_vary(folder, tmp_path):
    config = replace(CONFIG, gain_db=(-3.0, 1.5), mixes=30, virtual=True)
    document = build_dataset(folder, tmp_path / "out", config)
    gains = [r["gain_db"] for m in document["mixes"] for r in m["stems"].values()]
    assert -3 <= min(gains) < -2.5
    assert 1 < max(gains) <= 1.5
    assert len({*gains}) > 60


def test_stems_have_the_level_that_is_asked_for(folder, tmp_path):
    config = replace(CONFIG, level_lufs=-30.0, gain_db=(0, 0))
    build_dataset(folder, tmp_path / "out", config)
    for track in load_dataset(tmp_path / "out"):
        for stem in STEMS:
            # The gate leaves out the silent second, but for the block at its end.
            assert loudness_lufs(track.stem(stem), RATE) == pytest.approx(-30, abs=0.5)


def test_one_gain_keeps_all_stems_of_a_mix_from_clipping(folder, tmp_path):
    config = replace(CONFIG, level_lufs=-3.0, subtype="int16")
    document = build_dataset(folder, tmp_path / "out", config)
    tracks = {track.name: track for track in load_dataset(tmp_path / "out")}
    levels = {row["path"]: row["loudness_lufs"] for row in document["sources"]}
    for mix in document["mixes"]:
        mixture = tracks[mix["name"]].mixture()
        assert mix["joint_gain_db"] < 0
        assert -0.2 < peak_db(mixture) < 0
        for row in mix["stems"].values():
            gain = -3 - levels[row["source"]] + row["gain_db"] + mix["joint_gain_db"]
            assert row["factor"] == pytest.approx(10 ** (gain / 20), rel=1e-6)


@pytest.mark.parametrize(("form", "subtype"), [("wav", "int16"), ("flac", "int24")])
def test_a_mixture_file_is_the_sum_of_what_the_stem_files_hold(
    folder, tmp_path, form, subtype
):
    config = replace(CONFIG, format=form, subtype=subtype, mixture=True)
    build_dataset(folder, tmp_path / "out", config)
    tracks = load_dataset(tmp_path / "out")
    for track in tracks:
        assert not track.mixture_is_sum
        assert torch.equal(track.mixture(), track.sources().sum(0))
    assert audit_dataset(tmp_path / "out", fingerprints=False).count("error") == 0


def test_excerpts_are_taken_from_where_a_recording_sounds(folder, tmp_path):
    sound = noise(77, 10.0)
    sound[RATE : 8 * RATE] = 0  # a pause of 7 s
    for n in range(4):
        write(folder / "dizi" / f"dizi {n}.wav", sound * (1 + n / 10))
    document = build_dataset(folder, tmp_path / "out", replace(CONFIG, mixes=40))
    for track in load_dataset(tmp_path / "out"):
        active = track.stem("dizi").abs().amax(0).reshape(20, -1).amax(1) > 0
        assert active.float().mean() >= 0.5
    starts = [mix["stems"]["dizi"]["start"] for mix in document["mixes"]]
    assert min(starts) < RATE < 7 * RATE < max(starts)


def test_stems_that_are_left_out_are_silent_in_the_mix(folder, tmp_path):
    config = replace(CONFIG, absent=0.6, mixes=40)
    document = build_dataset(folder, tmp_path / "out", config)
    names = [{*mix["stems"]} for mix in document["mixes"]]
    assert all(names)
    share = sum(map(len, names)) / (3 * len(names))
    assert 0.3 < share < 0.6
    for track, mix in zip(
        load_dataset(tmp_path / "out"), document["mixes"], strict=True
    ):
        assert {*track.silent} == {*STEMS} - {*mix["stems"]}
        files = {path.stem for path in (tmp_path / "out").glob(f"*/{track.name}/*")}
        assert files == {*mix["stems"]}
    # The others are as if all stems were there.
    whole = build_dataset(folder, tmp_path / "whole", replace(config, absent=0.0))
    for some, all_stems in zip(document["mixes"], whole["mixes"], strict=True):
        for stem, row in some["stems"].items():
            assert row["start"] == all_stems["stems"][stem]["start"]
    with pytest.warns(MssEduWarning, match="stems are absent in"):
        tracks = load_dataset(tmp_path / "out", on_missing="absent")
    assert any(track.absent for track in tracks)


# ---- the same files -----------------------------------------------------------------


def test_workers_and_the_place_of_the_folder_change_nothing(folder, tmp_path):
    config = replace(CONFIG, mixture=True, subtype="int16")
    build_dataset(folder, tmp_path / "one", replace(config, workers=1))
    build_dataset(folder, tmp_path / "three", replace(config, workers=3))
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    shutil.copytree(folder, tmp_path / "moved" / "in")
    build_dataset(tmp_path / "moved" / "in", tmp_path / "moved" / "out", config)
    assert contents(tmp_path / "moved" / "out") == contents(tmp_path / "one")


def test_the_order_of_the_files_changes_nothing(folder, tmp_path, monkeypatch):
    document = build_dataset(folder, tmp_path / "one", CONFIG)
    found, songs = find_songs(folder)
    monkeypatch.setattr(recordings, "find_songs", lambda *_: (found, songs[::-1]))
    assert build_dataset(folder, tmp_path / "two", CONFIG) == document


def test_a_float_file_does_not_depend_on_the_time(folder, tmp_path, monkeypatch):
    """libsndfile writes the time in seconds into each float wav."""
    config = replace(CONFIG, mixes=3)
    build_dataset(folder, tmp_path / "one", config)
    time.sleep(1.1)
    build_dataset(folder, tmp_path / "two", config)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_seed_changes_mixes_and_splits(folder, tmp_path):
    first = build_dataset(folder, tmp_path / "one", CONFIG)
    other = build_dataset(folder, tmp_path / "two", replace(CONFIG, seed=1))
    assert first["mixes"] != other["mixes"]
    splits = [[row["split"] for row in d["sources"]] for d in (first, other)]
    assert splits[0] != splits[1]


# ---- virtual sets -------------------------------------------------------------------


def test_a_virtual_set_has_the_samples_of_the_written_one(folder, tmp_path):
    config = replace(CONFIG, level_lufs=-10.0, absent=0.2)
    build_dataset(folder, tmp_path / "written", config)
    build_dataset(folder, tmp_path / "virtual", replace(config, virtual=True))
    assert {*contents(tmp_path / "virtual")} == {"build.json", "mixes.csv"}
    written = load_dataset(tmp_path / "written", "train")
    virtual = load_dataset(tmp_path / "virtual", "train")
    for a, b in zip(written, virtual, strict=True):
        assert (a.name, a.stems, a.split) == (b.name, b.stems, b.split)
        assert torch.equal(a.sources(), b.sources())
        assert torch.equal(a.mixture(0.2, 0.5), b.mixture(0.2, 0.5))
        assert torch.equal(b.in_memory().sources(), a.sources())
    a, b = (RandomSegments(t, STEMS, 0.7, 5, seed=0) for t in (written, virtual))
    for item in range(5):
        assert torch.equal(a[item].sources, b[item].sources)


def test_mixes_of_the_same_recordings_are_not_the_same_song(folder, tmp_path):
    build_dataset(folder, tmp_path / "out", replace(CONFIG, virtual=True))
    tracks = load_dataset(tmp_path / "out")
    assert len({track_sha256(track) for track in tracks}) == len(tracks)
    renamed = [replace(track, name="same") for track in tracks]
    assert len({content_sha256(track) for track in renamed}) == len(tracks)
    assert data_sha256(tracks) == data_sha256(load_dataset(tmp_path / "out"))


def test_a_virtual_set_of_other_formats_has_copies(tmp_path):
    write_odd(tmp_path / "in")
    config = replace(CONFIG, short="loop", mixes=20)
    lines = []
    build_dataset(tmp_path / "in", tmp_path / "a", config, log=lines.append)
    build_dataset(tmp_path / "in", tmp_path / "b", replace(config, virtual=True))
    assert "9 of 12 recordings are converted to 8000 Hz × 2 channels" in lines[1]
    assert not (tmp_path / "a" / "sources").exists()
    assert list((tmp_path / "b" / "sources").iterdir())
    pairs = zip(load_dataset(tmp_path / "a"), load_dataset(tmp_path / "b"), strict=True)
    for a, b in pairs:
        assert torch.equal(a.sources(), b.sources())


def test_a_virtual_set_says_what_has_become_of_its_recordings(folder, tmp_path):
    config = replace(CONFIG, virtual=True)
    document = build_dataset(folder, tmp_path / "out", config)
    path = folder / document["mixes"][0]["stems"]["dizi"]["source"]
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DatasetError, match=f"have changed: .*{path.name}"):
        load_dataset(tmp_path / "out")
    path.unlink()
    with pytest.raises(DatasetError, match="are not there"):
        load_dataset(tmp_path / "out")
    # The size is the same, and the end of the file is not.
    with path.open("wb") as file:
        file.truncate(document["sources"][0]["size"])
    with pytest.raises(DatasetError, match=re.escape(path.name)):
        load_dataset(tmp_path / "out")
    write(path, noise(0, 0.2), subtype="FLOAT")
    edited = json.loads((tmp_path / "out" / "build.json").read_text("utf-8"))
    row = next(r for r in edited["sources"] if folder / r["path"] == path)
    row["size"] = path.stat().st_size
    (tmp_path / "out" / "build.json").write_text(json.dumps(edited))
    with pytest.raises(DatasetError, match="ends at sample 1600"):
        load_dataset(tmp_path / "out")


def test_the_layout_of_mixes_is_recognized(folder, tmp_path):
    for virtual in (False, True):
        out = tmp_path / str(virtual)
        build_dataset(folder, out, replace(CONFIG, virtual=virtual))
        layout, songs = find_songs(out)
        described = describe_songs(layout, songs)
        assert described == "layout mixes: 6 train, 3 valid, 3 test"
        found = audit_dataset(out)
        assert found.layout == "mixes"
        assert [f for f in found.findings if f.severity != "note"] == []
        assert {song.n_samples for song in found.songs} == {RATE}


@pytest.mark.parametrize("text", ["{", "[]", '{"plan": "x"}'])
def test_another_build_json_is_refused(tmp_path, text):
    (tmp_path / "build.json").write_text(text)
    with pytest.raises(DatasetError, match="not written by mssedu data build"):
        load_dataset(tmp_path)


# ---- other recordings ---------------------------------------------------------------


def write_odd(folder):
    """Recordings of other rates and channels, as mp3 and short ones."""
    for number, stem in enumerate(STEMS):
        write(folder / stem / "a.wav", noise((1, number), 2, rate=48000), 48000)
        write(folder / stem / "b.wav", noise((2, number), 2, channels=1))
        path = folder / stem / "c.mp3"
        write(path, noise((3, number), 2, rate=22050, channels=1), 22050)
        write(folder / stem / "d.flac", noise((4, number), 0.6))


def test_recordings_of_other_formats_are_converted(tmp_path):
    write_odd(tmp_path / "in")
    config = replace(CONFIG, short="pad", mixes=30)
    document = build_dataset(tmp_path / "in", tmp_path / "out", config)
    rows = {row["path"]: row for row in document["sources"]}
    tracks = {track.name: track for track in load_dataset(tmp_path / "out")}
    for mix in document["mixes"]:
        track = tracks[mix["name"]]
        assert (track.sample_rate, track.channels, track.n_samples) == (RATE, 2, RATE)
        for stem, row in mix["stems"].items():
            left, right = track.stem(stem)
            assert left.any()
            assert torch.equal(left, right) == (rows[row["source"]]["channels"] == 1)
            silent_end = not left[-RATE // 4 :].any()
            assert silent_end == row["source"].endswith("d.flac")


def test_a_short_recording_is_repeated_without_a_gap(folder, tmp_path):
    period = noise(3, 0.3)
    write(folder / "dizi" / "dizi 0.wav", period, subtype="FLOAT")
    document = build_dataset(folder, tmp_path / "out", replace(CONFIG, short="loop"))
    tracks = {track.name: track for track in load_dataset(tmp_path / "out")}
    used = [m for m in document["mixes"] if "dizi 0" in m["stems"]["dizi"]["source"]]
    assert used
    for mix in used:
        sound = tracks[mix["name"]].stem("dizi")
        length = len(period)
        assert torch.equal(sound[:, length:], sound[:, :-length])


def test_mono_mixes_are_made_of_the_mean_of_both_channels(folder, tmp_path):
    build_dataset(folder, tmp_path / "out", replace(CONFIG, channels=1))
    assert {track.channels for track in load_dataset(tmp_path / "out")} == {1}


def test_recordings_with_splits_keep_them(tmp_path):
    for number, split in enumerate(("train", "test")):
        for n, stem in enumerate(STEMS):
            path = tmp_path / "in" / split / stem / f"{stem} 1.wav"
            write(path, noise((number, n), 2))
    config = replace(CONFIG, split=None)
    document = build_dataset(tmp_path / "in", tmp_path / "out", config)
    assert {row["path"].split("/")[0] for row in document["sources"]} == {
        row["split"] for row in document["sources"]
    }
    splits = [mix["split"] for mix in document["mixes"]]
    assert (splits.count("train"), splits.count("test")) == (11, 1)
    with pytest.raises(DatasetError, match="already split"):
        build_dataset(tmp_path / "in", tmp_path / "other", CONFIG)
    (tmp_path / "in" / "test" / "pipa" / "pipa 1.wav").unlink()
    with pytest.raises(DatasetError, match="test has no recording of pipa"):
        build_dataset(tmp_path / "in", tmp_path / "other", config)


def test_recordings_of_a_csv_file(folder, tmp_path):
    lines = ["instrument,path,license"]
    lines += [f"{p.parent.name},{p},CC BY 4.0" for p in sorted(folder.rglob("*.wav"))]
    index = tmp_path / "index.csv"
    index.write_text("\n".join(lines))
    config = replace(CONFIG, license=(), virtual=True)
    document = build_dataset(index, tmp_path / "out", config)
    assert {row["license"] for row in document["sources"]} == {"CC BY 4.0"}
    assert len(load_dataset(tmp_path / "out")) == 12


# ---- refusals -----------------------------------------------------------------------


def refused(folder, tmp_path, config=CONFIG, error=DatasetError):
    with pytest.raises(error) as caught:
        build_dataset(folder, tmp_path / "out", config)
    return str(caught.value)


def test_too_few_recordings_for_the_splits(folder, tmp_path):
    for n in (1, 2):
        (folder / "pipa" / f"pipa {n}.wav").unlink()
    text = refused(folder, tmp_path)
    assert (
        "2 recordings of 'pipa' are too few for the splits train, valid, test" in text
    )
    assert not (tmp_path / "out").exists()


def test_the_same_recording_twice(folder, tmp_path):
    shutil.copy(folder / "dizi" / "dizi 0.wav", folder / "pipa" / "copy.wav")
    assert "dizi/dizi 0.wav = pipa/copy.wav" in refused(folder, tmp_path)


def test_songs_are_no_recordings(tmp_path):
    for song in ("first", "second"):
        for stem in ("vocals", "drums"):
            write(tmp_path / "in" / song / f"{stem}.wav", noise(0, 2))
    assert "holds songs" in refused(tmp_path / "in", tmp_path)


def test_stems_that_cannot_be_mixed(folder, tmp_path):
    shutil.rmtree(folder / "pipa")
    (folder / "yangqin").rename(folder / "mixture")
    text = refused(folder, tmp_path, replace(CONFIG, license=()))
    assert "two stems" in text
    shutil.rmtree(folder / "mixture")
    text = refused(folder, tmp_path, replace(CONFIG, license=()))
    assert "has the stems dizi." in text


def test_all_recordings_that_cannot_be_used_are_listed(folder, tmp_path):
    write(folder / "dizi" / "dizi 0.wav", noise(0, 0.5))
    write(folder / "dizi" / "dizi 1.wav", np.zeros((3 * RATE, 2)))
    sound = noise(100, 3)
    sound[2 * RATE] = np.nan
    write(folder / "pipa" / "pipa 0.wav", sound, subtype="FLOAT")
    write(folder / "pipa" / "pipa 1.wav", sound[:, :1], subtype="FLOAT")
    text = refused(folder, tmp_path)
    assert "4 songs that cannot be used" in text
    assert "dizi 0.wav: it is too short: 0.5 s" in text
    assert "dizi 1.wav: it is silent" in text
    assert "pipa 0.wav: it has NaN or Inf values, from 2.000 s on" in text
    assert "pipa 1.wav: it has NaN or Inf values, from 2.000 s on" in text
    assert "--short loop" in text
    # Nothing was made yet, so another plan may follow in the same folder.
    for seed, name in enumerate(("dizi/dizi 1", "pipa/pipa 0", "pipa/pipa 1")):
        write(folder / f"{name}.wav", noise((50, seed), 3.0))
    build_dataset(folder, tmp_path / "out", replace(CONFIG, short="loop"))


def test_recordings_that_cannot_be_read_are_listed(folder, tmp_path):
    (folder / "dizi" / "dizi 0.wav").write_bytes(b"RIFF nothing")
    write(folder / "pipa" / "pipa 0.wav", noise(0, 2, channels=3))
    text = refused(folder, tmp_path)
    assert "2 songs that cannot be read" in text
    assert "dizi/dizi 0.wav" in text
    assert "3 channels" in text


def test_the_folder_of_the_mixes(folder, tmp_path):
    with pytest.raises(InputError, match="is inside"):
        build_dataset(folder, folder / "out", CONFIG)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "song.wav").touch()
    assert "not an empty folder" in refused(folder, tmp_path, error=InputError)


def test_the_disk_must_have_room(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("mssedu.audio.disk.free_bytes", lambda path: 1000)
    text = refused(folder, tmp_path, error=DiskError)
    assert re.search(r"the mixes in out need 2\.\d MB", text)
    build = replace(CONFIG, virtual=True)
    assert build_dataset(folder, tmp_path / "out", build)["finished"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"mixes": 0}, "mixes"),
        ({"seconds": 0.01}, "seconds"),
        ({"gain_db": (3, -6)}, r"gain_db\[1\] must be from 3"),
        ({"level_lufs": 1.0}, "level_lufs"),
        ({"silence_db": 0.0}, "silence_db"),
        ({"short": "cut"}, "unknown short 'cut'"),
        ({"absent": 1.0}, "absent"),
        ({"seed": -1}, "seed"),
        ({"sample_rate": 44}, "sample_rate"),
        ({"channels": 3}, "channels"),
        ({"format": "mp3"}, "unknown format"),
        ({"subtype": "int8"}, "unknown subtype"),
        ({"format": "flac"}, "flac holds no float32"),
        ({"virtual": True, "mixture": True}, "mixture excludes virtual"),
        ({"workers": -1}, "workers"),
        ({"license": ("dizi",)}, "STEM=LICENSE"),
    ],
)
def test_settings_out_of_range(changes, word):
    with pytest.raises(InputError, match=word):
        replace(CONFIG, **changes)


def test_shares_and_names_that_do_not_fit(folder, tmp_path):
    config = replace(CONFIG, split=(0.5, 0.5, 0.5))
    assert "shares" in refused(folder, tmp_path, config, InputError)
    config = replace(CONFIG, license=("erhu=CC0",))
    assert "license names erhu" in refused(folder, tmp_path, config, InputError)
    config = replace(CONFIG, mixes=2)
    assert "mixes must be at least 3" in refused(folder, tmp_path, config, InputError)


# ---- after a stop -------------------------------------------------------------------

SCRIPT = """
import sys, time
from mssedu.data.building import mixes
from mssedu.data.building.recipe import BuildConfig
save = mixes.save_audio
def slow(*words, **more):
    time.sleep(0.02)
    save(*words, **more)
mixes.save_audio = slow
mixes.build_dataset(sys.argv[1], sys.argv[2], {config!r})
"""


def test_a_build_goes_on_after_a_kill(folder, tmp_path):
    config = replace(CONFIG, mixes=60, workers=2, mixture=True)
    out, journal = tmp_path / "killed", tmp_path / "killed" / mixes.JOURNAL
    code = SCRIPT.format(config=config)
    with subprocess.Popen([sys.executable, "-c", code, folder, out]) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if journal.is_file() and journal.read_text().count("\n") >= 5:
                break
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    assert 5 <= journal.read_text().count("\n") < 60
    with pytest.raises(DatasetError, match="is not finished"):
        load_dataset(out)
    with journal.open("a") as file:
        file.write('["mix_00')  # the kill came in the middle of a line
    first = json.loads(journal.read_text().split("\n")[0])[0]
    time_before = next(out.glob(f"*/{first}/dizi.wav")).stat().st_mtime_ns
    build_dataset(folder, out, config)
    build_dataset(folder, tmp_path / "whole", config)
    assert contents(out) == contents(tmp_path / "whole")
    assert next(out.glob(f"*/{first}/dizi.wav")).stat().st_mtime_ns == time_before


@pytest.mark.parametrize("virtual", [False, True])
def test_a_build_of_copies_goes_on_after_a_stop(tmp_path, monkeypatch, virtual):
    write_odd(tmp_path / "in")
    config = replace(CONFIG, short="loop", virtual=virtual, workers=1)
    factor, count = mixes.factor_of, itertools.count()

    def stop(gain):
        if next(count) > 30:
            raise KeyboardInterrupt
        return factor(gain)

    with monkeypatch.context() as patch:
        patch.setattr(mixes, "factor_of", stop)
        with pytest.raises(KeyboardInterrupt):
            build_dataset(tmp_path / "in", tmp_path / "out", config)
    next((tmp_path / "out" / "sources").iterdir()).unlink()  # it is made again
    build_dataset(tmp_path / "in", tmp_path / "out", config)
    build_dataset(tmp_path / "in", tmp_path / "whole", config)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_finished_build_is_left_alone_and_mended(folder, tmp_path):
    out = tmp_path / "out"
    build_dataset(folder, out, CONFIG)
    before = contents(out)
    steps = []
    build_dataset(folder, out, CONFIG, progress=lambda *step: steps.append(step))
    assert contents(out) == before
    assert steps[-1][:2] == (36, 36)
    shutil.rmtree(next(out.glob("train/*")))
    build_dataset(folder, out, CONFIG)
    assert contents(out) == before


def test_another_plan_is_refused_with_the_difference(folder, tmp_path):
    out = tmp_path / "out"
    build_dataset(folder, out, CONFIG)
    config = replace(CONFIG, seed=3, gain_db=(-1, 1))
    text = refused(folder, tmp_path, config, InputError)
    assert "seed was 0 and is 3" in text
    assert "gain_db was [-6.0, 3.0] and is [-1.0, 1.0]" in text
    assert "has changed" not in text
    write(folder / "dizi" / "dizi 0.wav", noise(99, 3))
    write(folder / "dizi" / "dizi 9.wav", noise(98, 3))
    (folder / "pipa" / "pipa 0.wav").rename(folder / "pipa" / "renamed.wav")
    text = refused(folder, tmp_path, CONFIG, InputError)
    assert "dizi/dizi 0.wav has changed" in text
    assert "dizi/dizi 9.wav is new" in text
    assert "pipa/pipa 0.wav is gone" in text
    assert "pipa/renamed.wav is new" in text


# ---- what is written about it -------------------------------------------------------


def test_whole_and_decimal_numbers_are_one_plan(folder, tmp_path):
    config = replace(CONFIG, seconds=1, gain_db=(-6, 3), level_lufs=-25)
    document = build_dataset(folder, tmp_path / "out", config)
    same = replace(config, seconds=1.0, gain_db=(-6.0, 3.0), level_lufs=-25.0)
    assert build_dataset(folder, tmp_path / "out", same) == document


def test_a_change_of_the_stems_is_another_plan(folder, tmp_path):
    index = tmp_path / "index.csv"
    lines = [f"{p.parent.name},{p}" for p in sorted(folder.rglob("*.wav"))]
    index.write_text("\n".join(["stem,path", *lines]))
    build_dataset(index, tmp_path / "out", CONFIG)
    index.write_text("\n".join(["stem,path", *lines]).replace("pipa,", "erhu,"))
    config = replace(CONFIG, license=("dizi=CC0", "erhu=CC0", "yangqin=CC0"))
    text = refused(index, tmp_path, config, InputError)
    assert "in/pipa/pipa 0.wav has changed" in text


def test_links_keep_their_own_names(folder, tmp_path):
    pool = tmp_path / "pool"
    (folder / "dizi").rename(pool)
    (folder / "dizi").mkdir()
    try:
        for path in pool.iterdir():
            (folder / "dizi" / path.name).symlink_to(path)
    except OSError:
        pytest.skip("this system allows no links")
    document = build_dataset(folder, tmp_path / "out", replace(CONFIG, virtual=True))
    assert document["sources"][0]["path"] == "dizi/dizi 0.wav"
    assert len(load_dataset(tmp_path / "out")) == 12


def test_progress_and_log_tell_what_is_done(folder, tmp_path):
    lines, steps = [], []
    config = replace(CONFIG, level_lufs=-3.0)
    build_dataset(
        folder,
        tmp_path / "out",
        config,
        log=lines.append,
        progress=lambda *s: steps.append(s),
    )
    assert [done for done, _, _ in steps] == [*range(1, 37)]
    assert {total for _, total, _ in steps} == {36}
    assert steps[-1][2].startswith("mix_00")
    assert "dizi 4, pipa 4, yangqin 4" in lines[0]
    assert (
        "12 mixes of 1 s (6 train, 3 valid, 3 test); 12 of them are quieter"
        in lines[-1]
    )


def test_the_table_has_a_line_for_each_mix(folder, tmp_path):
    pandas = pytest.importorskip("pandas")
    config = replace(CONFIG, absent=0.3)
    document = build_dataset(folder, tmp_path / "out", config)
    table = pandas.read_csv(tmp_path / "out" / "mixes.csv")
    assert [*table["mix"]] == [mix["name"] for mix in document["mixes"]]
    for (_, line), mix in zip(table.iterrows(), document["mixes"], strict=True):
        for stem in STEMS:
            row = mix["stems"].get(stem)
            if row is None:
                assert math.isnan(line[f"{stem}_start"])
            else:
                assert line[f"{stem}_source"] == row["source"]
                assert line[f"{stem}_gain_db"] == row["gain_db"]


def test_the_manifest_names_every_recording(folder, tmp_path):
    document = build_dataset(folder, tmp_path / "out", CONFIG)
    stored = json.loads((tmp_path / "out" / "build.json").read_text("utf-8"))
    assert stored == document
    assert stored["settings"]["seed"] == 0
    assert stored["folder"] == "../in"
    assert len(stored["sources"]) == 12
    for row in stored["sources"]:
        assert (row["sample_rate"], row["channels"], row["samples"]) == (
            RATE,
            2,
            4 * RATE,
        )
        assert len(row["sha256"]) == 64
        assert row["size"] == (folder / row["path"]).stat().st_size
        assert row["license"] == "CC0"
