"""A data set written for another tool: what our loader and that tool then read."""

import json
import os
import subprocess
import sys
import time
import types
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from mssedu.audio.tensors import resample
from mssedu.data import convert as convert_module
from mssedu.data.convert import RECORD, convert_dataset
from mssedu.data.finding import find_songs
from mssedu.data.layouts import MUSDB_VALID, STEMS
from mssedu.data.loading import load_dataset
from mssedu.data.targets import TARGETS
from mssedu.errors import DatasetError, DiskError, InputError, MssEduWarning, SetupError
from tests.data.trees import RATE, write_song, write_stem_mp4

VALID = min(MUSDB_VALID)
SPLITS = {"a": "train", VALID: "train", "b": "test"}  # folders of MUSDB18


def noise(n_samples, seed, level=0.05, channels=2):
    """White noise (samples, channels) in steps of 16 bits."""
    sound = np.random.default_rng(seed).standard_normal((n_samples, channels))
    return np.round(sound * level * 2**15) / 2**15


def write_noise(folder, stems=STEMS, n_samples=999, *, mixture=True, level=0.05):
    """A song of 16-bit noise, whose mixture is the sum and something more."""
    folder.mkdir(parents=True)
    sounds = [noise(n_samples, seed, level) for seed in range(len(stems) + 1)]
    for stem, sound in zip(stems, sounds, strict=False):
        sf.write(folder / f"{stem}.wav", sound, RATE, subtype="FLOAT")
    if mixture:
        sf.write(folder / "mixture.wav", sum(sounds), RATE, subtype="FLOAT")
    return folder


@pytest.fixture
def musdb(tmp_path):
    """Three songs as in MUSDB18-HQ: train, valid and test."""
    for number, (name, split) in enumerate(SPLITS.items()):
        write_noise(tmp_path / "in" / split / name, n_samples=999 + number)
    return tmp_path / "in"


def read(path):
    sound, _ = sf.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(sound.T.copy())


def with_soundfile(monkeypatch, module):
    """Let a package read wav files, as its own torchaudio has lost it."""

    def load(path, frame_offset=0, num_frames=-1):
        sound, rate = sf.read(
            path, num_frames, frame_offset, dtype="float32", always_2d=True
        )
        return torch.from_numpy(sound.T.copy()), rate

    def info(path):
        header = sf.info(path)
        return types.SimpleNamespace(
            num_frames=header.frames, sample_rate=header.samplerate
        )

    monkeypatch.setattr(module, "load", load)
    monkeypatch.setattr(module, "info", info, raising=False)


def is_running(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # it ended, and nobody has asked for its exit code


# ---- what is written ----------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_holds_the_same_samples_and_splits(musdb, tmp_path, target):
    stems = ["vocals"] if TARGETS[target].one_stem else None
    before = load_dataset(musdb, stems=stems)
    done = convert_dataset(musdb, tmp_path / "out", target=target, stems=stems)
    assert (done.n_songs, done.n_skipped, done.gains_db) == (3, 0, {})
    after = load_dataset(tmp_path / "out")
    assert [(t.name, t.split) for t in after] == [(t.name, t.split) for t in before]
    for old, new in zip(before, after, strict=True):
        assert (new.stems, new.n_samples) == (old.stems, old.n_samples)
        assert torch.equal(new.sources(), old.sources())
        if TARGETS[target].mixture == "never":
            assert new.mixture_is_sum
            assert done.n_not_sum == 3
        else:
            assert torch.equal(new.mixture(), old.mixture())
            assert done.n_not_sum == 0


@pytest.mark.parametrize(
    ("target", "layout", "stems"),
    [
        ("songs", "splits", None),
        ("musdb18-hq", "musdb18-hq", None),
        ("open-unmix", "splits", None),
        ("open-unmix-aligned", "aligned", ["vocals"]),
        ("demucs", "splits", None),
        ("msst", "splits", None),
        ("museval", "splits", None),
    ],
)
def test_a_target_is_recognized(musdb, tmp_path, target, layout, stems):
    convert_dataset(musdb, tmp_path / "out", target=target, stems=stems)
    assert find_songs(tmp_path / "out")[0].name == layout


def test_stem_mp4_becomes_wav_bit_for_bit(tmp_path):
    write_stem_mp4(tmp_path / "in" / "train" / "a.stem.mp4", 0.3)
    write_stem_mp4(tmp_path / "in" / "test" / "b.stem.mp4", 0.2)
    convert_dataset(tmp_path / "in", tmp_path / "out", target="musdb18-hq")
    old, new = load_dataset(tmp_path / "in"), load_dataset(tmp_path / "out")
    assert [t.name for t in new] == ["a", "b"]
    for before, after in zip(old, new, strict=True):
        assert torch.equal(after.sources(), before.sources())
        assert torch.equal(after.mixture(), before.mixture())


def test_a_mixture_that_is_the_sum_is_written_where_the_tool_needs_it(tmp_path):
    write_noise(tmp_path / "in" / "train" / "a", mixture=False)
    convert_dataset(tmp_path / "in", tmp_path / "own")
    assert not (tmp_path / "own" / "train" / "a" / "mixture.wav").exists()
    convert_dataset(tmp_path / "in", tmp_path / "all", target="msst")
    (track,) = load_dataset(tmp_path / "in")
    assert torch.equal(
        read(tmp_path / "all" / "train" / "a" / "mixture.wav"), track.mixture()
    )


def test_the_mixture_is_that_of_the_whole_song(musdb, tmp_path):
    stems = ["vocals", "instrumental=-vocals"]
    done = convert_dataset(musdb, tmp_path / "out", stems=stems)
    old, new = load_dataset(musdb, stems=stems), load_dataset(tmp_path / "out")
    assert done.n_not_sum == 0
    assert new[0].stems == ("vocals", "instrumental")
    assert torch.equal(new[0].sources(), old[0].sources())
    convert_dataset(musdb, tmp_path / "two", stems=["vocals", "drums"])
    (first, *_) = load_dataset(tmp_path / "two")
    assert torch.equal(first.mixture(), load_dataset(musdb)[0].mixture())


@pytest.mark.parametrize("ext", ["wav", "flac"])
def test_16_bit_samples_stay_as_they_are(musdb, tmp_path, ext):
    convert_dataset(musdb, tmp_path / "out", target="msst", ext=ext, subtype="int16")
    path = tmp_path / "out" / "test" / "b" / f"bass.{ext}"
    assert sf.info(path).subtype == "PCM_16"
    assert torch.equal(read(path), read(musdb / "test" / "b" / "bass.wav"))


def test_flac_has_24_bits_if_not_asked(musdb, tmp_path):
    convert_dataset(musdb, tmp_path / "out", ext="flac")
    path = tmp_path / "out" / "test" / "b" / "bass.flac"
    assert sf.info(path).subtype == "PCM_24"


def test_one_gain_for_all_files_of_a_song_that_integers_cannot_hold(tmp_path):
    write_noise(tmp_path / "in" / "train" / "loud", level=0.4)
    write_noise(tmp_path / "in" / "train" / "quiet", level=0.01)
    options = {"target": "msst", "subtype": "int24"}
    done = convert_dataset(tmp_path / "in", tmp_path / "out", **options)
    old, new = load_dataset(tmp_path / "in"), load_dataset(tmp_path / "out")
    assert set(done.gains_db) == {"loud"}
    gain = 10 ** (done.gains_db["loud"] / 20)
    everything = torch.cat([old[0].mixture()[None], old[0].sources()])
    assert gain == pytest.approx(1 / float(everything.abs().max()), rel=1e-6)
    scaled = torch.cat([new[0].mixture()[None], new[0].sources()])
    torch.testing.assert_close(scaled, everything * gain, atol=3e-7, rtol=0)
    torch.testing.assert_close(new[1].sources(), old[1].sources(), atol=3e-7, rtol=0)


@pytest.mark.parametrize(("rate", "length"), [(44100, 5507), (7000, 874), (8001, 999)])
def test_the_length_is_exact_at_another_rate(tmp_path, rate, length):
    write_noise(tmp_path / "in" / "a")
    convert_dataset(tmp_path / "in", tmp_path / "out", sample_rate=rate)
    (old,), (new,) = load_dataset(tmp_path / "in"), load_dataset(tmp_path / "out")
    assert (new.sample_rate, new.n_samples) == (rate, length)
    assert torch.equal(new.stem("bass"), resample(old.stem("bass"), RATE, rate))


def test_channels_are_converted(musdb, tmp_path):
    convert_dataset(musdb, tmp_path / "out", channels=1)
    old, new = load_dataset(musdb), load_dataset(tmp_path / "out")
    assert new[0].channels == 1
    assert torch.equal(new[0].stem("bass"), old[0].stem("bass").mean(0, keepdim=True))


def test_absent_stems_are_not_written(tmp_path):
    write_noise(tmp_path / "in" / "train" / "a", ("dizi", "pipa"))
    write_noise(tmp_path / "in" / "train" / "b", ("dizi",))
    with pytest.warns(MssEduWarning, match="pipa in 1"):
        convert_dataset(tmp_path / "in", tmp_path / "out", target="msst")
    files = sorted(path.name for path in (tmp_path / "out" / "train" / "b").iterdir())
    assert files == ["dizi.wav", "mixture.wav"]
    record = json.loads((tmp_path / "out" / RECORD).read_bytes())
    assert record["songs"]["train/b"]["absent"] == ["pipa"]
    with pytest.warns(MssEduWarning), pytest.raises(DatasetError, match="b: pipa"):
        convert_dataset(tmp_path / "in", tmp_path / "no", target="demucs")


def test_names_that_a_file_cannot_have(tmp_path):
    folder = write_song(tmp_path / "files", ("x", "y"))
    lines = "mix_path,lead/vox_path,band_path\n"
    lines += f"{folder / 'x.wav'},{folder / 'x.wav'},{folder / 'y.wav'}\n"
    (tmp_path / "songs.csv").write_text(lines)
    done = convert_dataset(tmp_path / "songs.csv", tmp_path / "out")
    name = done.renamed["lead/vox"]
    assert name.startswith("lead_vox-")
    (track,) = load_dataset(tmp_path / "out")
    assert set(track.stems) == {name, "band"}


def test_processes_write_the_same(musdb, tmp_path):
    seen = []
    convert_dataset(musdb, tmp_path / "one")
    convert_dataset(
        musdb, tmp_path / "two", jobs=2, progress=lambda *step: seen.append(step)
    )
    assert [step[:2] for step in seen] == [(1, 3), (2, 3), (3, 3)]
    one, two = (
        json.loads((tmp_path / name / RECORD).read_bytes()) for name in ("one", "two")
    )
    assert one == two


def test_a_process_that_dies_has_a_remedy(musdb, tmp_path, monkeypatch):
    # What each process starts with is replaced by its end.
    monkeypatch.setattr(convert_module, "start_worker", partial(os._exit, 1))
    with pytest.raises(SetupError, match="--jobs 1"):
        convert_dataset(musdb, tmp_path / "out", jobs=2)


# ---- what other tools read ----------------------------------------------------------


@pytest.mark.parametrize("subtype", ["float32", "int16"])
def test_musdb_reads_it(musdb, tmp_path, subtype):
    package = pytest.importorskip("musdb")
    convert_dataset(musdb, tmp_path / "out", target="musdb18-hq", subtype=subtype)
    for split, name in (("train", "a"), ("valid", VALID)):
        songs = package.DB(
            str(tmp_path / "out"), is_wav=True, subsets="train", split=split
        )
        assert [song.name for song in songs] == [name]
    songs = package.DB(str(tmp_path / "out"), is_wav=True)
    assert [song.name for song in songs] == [VALID, "a", "b"]
    for song in songs:
        folder = musdb / SPLITS[song.name] / song.name
        for name, source in song.sources.items():
            sound = source.audio.T.astype(np.float32)
            assert np.array_equal(sound, read(folder / f"{name}.wav").numpy())
        assert song.audio.shape[0] == sf.info(folder / "mixture.wav").frames


def test_open_unmix_reads_it(musdb, tmp_path, monkeypatch):
    package = pytest.importorskip("openunmix.data")
    with_soundfile(monkeypatch, package.torchaudio)
    convert_dataset(musdb, tmp_path / "out", target="open-unmix")
    songs = package.FixedSourcesTrackFolderDataset(
        tmp_path / "out",
        split="test",
        target_file="vocals.wav",
        interferer_files=["drums.wav", "bass.wav", "other.wav"],
        seq_duration=None,
    )
    (song,) = load_dataset(musdb, "test")
    mixture, target = songs[0]
    assert len(songs) == 1
    assert torch.equal(target, song.stem("vocals"))
    torch.testing.assert_close(mixture, song.sources().sum(0))
    monkeypatch.setattr(
        package, "load_info", lambda path: {"duration": sf.info(path).duration}
    )
    songs = package.VariableSourcesTrackFolderDataset(
        tmp_path / "out", split="test", target_file="vocals.wav", seq_duration=None
    )
    mixture, _ = songs[0]
    torch.testing.assert_close(mixture, song.sources().sum(0))


def test_open_unmix_reads_pairs(musdb, tmp_path, monkeypatch):
    package = pytest.importorskip("openunmix.data")
    with_soundfile(monkeypatch, package.torchaudio)
    options = {"target": "open-unmix-aligned", "stems": ["bass"]}
    convert_dataset(musdb, tmp_path / "out", **options)
    songs = package.AlignedDataset(
        tmp_path / "out", split="valid", output_file="bass.wav"
    )
    (song,) = load_dataset(musdb, "valid")
    mixture, target = songs[0]
    assert torch.equal(mixture, song.mixture())
    assert torch.equal(target, song.stem("bass"))


def test_demucs_reads_it(musdb, tmp_path, monkeypatch):
    pytest.importorskip("demucs")
    dora = types.ModuleType("dora")  # it starts experiments, and is not needed here
    dora.distrib, dora.log = types.ModuleType("distrib"), types.ModuleType("log")
    dora.distrib.rank, dora.distrib.world_size = 0, 1
    monkeypatch.setitem(sys.modules, "dora", dora)
    package = pytest.importorskip("demucs.wav")
    with_soundfile(monkeypatch, package.ta)
    convert_dataset(musdb, tmp_path / "out", target="demucs")
    args = types.SimpleNamespace(
        wav=tmp_path / "out",
        metadata=tmp_path,
        sources=[*STEMS],
        full_cv=True,
        segment=None,
        shift=None,
        samplerate=RATE,
        channels=2,
        normalize=False,
    )
    train, valid = package.get_wav_datasets(args)
    for songs, split in ((train, "train"), (valid, "valid")):
        (song,) = load_dataset(musdb, split)
        assert len(songs) == 1
        assert torch.equal(songs[0][-4:], song.sources())
    assert torch.equal(valid[0][0], song.mixture())


def test_museval_reads_references_and_estimates(tmp_path):
    package = pytest.importorskip("museval")
    write_noise(tmp_path / "in" / "test" / "b", ("vocals", "drums"), 2 * RATE)
    out = tmp_path / "out" / "test" / "b"
    convert_dataset(tmp_path / "in", tmp_path / "out", target="museval")
    scores = package.eval_dir(str(out), str(out))
    targets = json.loads(scores.json)["targets"]
    assert len(targets) == 2
    # A perfect SDR is infinite, and museval writes it as NaN.
    assert all(f["metrics"]["SIR"] > 100 for t in targets for f in t["frames"])


# ---- going on -----------------------------------------------------------------------


def test_a_run_that_was_stopped_goes_on(musdb, tmp_path, monkeypatch):
    original, calls = convert_module._write, []

    def write(track, *arguments):
        calls.append(track.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(track, *arguments)

    monkeypatch.setattr(convert_module, "_write", write)
    with pytest.raises(KeyboardInterrupt):
        convert_dataset(musdb, tmp_path / "out")
    record = json.loads((tmp_path / "out" / RECORD).read_bytes())
    assert [*record["songs"]] == ["train/a"]
    # A song without entry is what the stopped run had begun.
    (tmp_path / "out" / "valid" / VALID).mkdir(parents=True)
    (tmp_path / "out" / "valid" / VALID / "bass.wav").write_bytes(b"half")
    done = convert_dataset(musdb, tmp_path / "out")
    assert done.n_skipped == 1
    assert calls.count("a") == 1
    assert convert_dataset(musdb, tmp_path / "out").n_skipped == 3
    old, new = load_dataset(musdb), load_dataset(tmp_path / "out")
    assert all(
        torch.equal(a.sources(), b.sources()) for a, b in zip(old, new, strict=True)
    )


@pytest.mark.parametrize("damage", ["bytes", "missing"])
def test_a_song_that_was_changed_since_is_refused(musdb, tmp_path, damage):
    convert_dataset(musdb, tmp_path / "out")
    path = tmp_path / "out" / "test" / "b" / "bass.wav"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    if damage == "bytes":
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"bass.wav is missing, or not as it was"):
        convert_dataset(musdb, tmp_path / "out")


def test_another_source_or_other_settings_are_refused(musdb, tmp_path):
    convert_dataset(musdb, tmp_path / "out")
    with pytest.raises(InputError, match="had subtype float32, not int16"):
        convert_dataset(musdb, tmp_path / "out", subtype="int16")
    with pytest.raises(InputError, match=r"had stems \['vocals', 'drums"):
        convert_dataset(musdb, tmp_path / "out", stems=["bass"])
    sound = noise(999, 99)
    sf.write(musdb / "train" / "a" / "bass.wav", sound, RATE, subtype="FLOAT")
    with pytest.raises(DatasetError, match="converted from other files"):
        convert_dataset(musdb, tmp_path / "out")
    (musdb / "test" / "b").rename(musdb / "test" / "c")
    with pytest.raises(InputError, match="lists test/b, which is not in this data set"):
        convert_dataset(musdb, tmp_path / "out")


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": {}, "songs": {"a": 1}}'])
def test_a_damaged_record_is_refused(musdb, tmp_path, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / RECORD).write_text(text)
    with pytest.raises(DatasetError, match="is damaged"):
        convert_dataset(musdb, tmp_path / "out")


def test_songs_of_others_in_the_folder_are_named(musdb, tmp_path):
    convert_dataset(musdb, tmp_path / "out")
    write_song(tmp_path / "out" / "test" / "stranger")
    with pytest.raises(DatasetError, match=r"other songs .* test/stranger"):
        convert_dataset(musdb, tmp_path / "out")


# ---- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"target": "umx"}, "unknown target 'umx'"),
        ({"ext": "mp3"}, "unknown ext 'mp3'"),
        ({"ext": "flac", "subtype": "float32"}, "unknown flac subtype"),
        ({"subtype": "int8"}, "unknown wav subtype 'int8'"),
        ({"ext": "flac", "target": "demucs"}, "demucs reads wav files only"),
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"sample_rate": 0}, "sample_rate must be from 1000"),
        ({"target": "musdb18-hq", "stems": ["bass"]}, "holds the stems vocals"),
        ({"target": "open-unmix-aligned"}, "holds one stem"),
        ({"stems": ["mix=bass+drums"]}, "'mix' would be taken for the mixture"),
    ],
)
def test_wrong_options(musdb, tmp_path, options, word):
    with pytest.raises(InputError, match=word):
        convert_dataset(musdb, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_channels_that_cannot_be_converted(musdb, tmp_path):
    """0 was the same as None, and 6 an error for each song with advice in Python."""
    for channels in (6, 3, 0, -1):
        match = f"channels must be from 1 to 2, got {channels}"
        with pytest.raises(InputError, match=match):
            convert_dataset(musdb, tmp_path / "out", channels=channels)
    write_song(tmp_path / "six" / "song", channels=6)
    with pytest.raises(InputError, match=r"have 6 channels.* Leave out --channels"):
        convert_dataset(tmp_path / "six", tmp_path / "out", channels=2)
    assert not (tmp_path / "out").exists()


def test_songs_need_splits_where_the_tool_has_splits(tmp_path):
    for number in range(3):
        write_noise(tmp_path / "in" / f"song {number}")
    with pytest.raises(DatasetError, match="3 songs without split for demucs"):
        convert_dataset(tmp_path / "in", tmp_path / "out", target="demucs")
    shares = (0.4, 0.3, 0.3)
    convert_dataset(
        tmp_path / "in", tmp_path / "out", target="demucs", split_shares=shares
    )
    expected = load_dataset(tmp_path / "in", split_shares=shares)
    found = load_dataset(tmp_path / "out")
    assert [(t.name, t.split) for t in found] == [(t.name, t.split) for t in expected]


@pytest.mark.parametrize("target", ["musdb18-hq", "museval"])
def test_a_split_that_musdb_would_change_is_refused(tmp_path, target):
    write_noise(tmp_path / "in" / "train" / VALID)
    write_noise(tmp_path / "in" / "valid" / "b")
    with pytest.raises(DatasetError, match="2 songs whose split") as caught:
        convert_dataset(tmp_path / "in", tmp_path / "out", target=target)
    assert f"{VALID}: train" in str(caught.value)
    assert "b: valid" in str(caught.value)


def test_the_folder_must_be_new(musdb, tmp_path):
    write_song(tmp_path / "out" / "train" / "a")
    with pytest.raises(InputError, match="is not an empty folder"):
        convert_dataset(musdb, tmp_path / "out")
    with pytest.raises(InputError, match="is inside the data set"):
        convert_dataset(musdb, musdb / "out")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_processes_end_with_the_one_that_was_killed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "from mssedu.data.workers import start_worker\n"
        "if __name__ == '__main__':\n"
        "    spawn = get_context('spawn')\n"
        "    pool = ProcessPoolExecutor(1, spawn, initializer=start_worker)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    words = [sys.executable, "-B", program]
    started = subprocess.run(words, capture_output=True, text=True)
    process = int(started.stdout)
    for _ in range(100):
        if not is_running(process):
            return
        time.sleep(0.1)
    raise AssertionError(f"process {process} still runs")


def test_one_bad_song_does_not_stop_the_others(musdb, tmp_path):
    path = musdb / "train" / "a" / "bass.wav"
    sound = noise(999, 0)
    sound[5] = np.nan
    sf.write(path, sound, RATE, subtype="FLOAT")
    with pytest.raises(DatasetError, match="1 song that cannot be converted; 2 are in"):
        convert_dataset(musdb, tmp_path / "out")
    assert (tmp_path / "out" / "test" / "b" / "bass.wav").exists()
    assert not (tmp_path / "out" / "train" / "a").exists() or not [
        *(tmp_path / "out" / "train" / "a").iterdir()
    ]


def test_a_full_disk_is_known_before(musdb, tmp_path, monkeypatch):
    monkeypatch.setattr("mssedu.audio.disk.free_bytes", lambda path: 1000)
    with pytest.raises(DiskError, match="too full"):
        convert_dataset(musdb, tmp_path / "out")
    assert not Path(tmp_path / "out").exists()


def test_a_full_disk_ends_the_run(musdb, tmp_path, monkeypatch):
    def write(*_):
        raise DiskError("the disk is full")

    monkeypatch.setattr(convert_module, "_write", write)
    with pytest.raises(DiskError):
        convert_dataset(musdb, tmp_path / "out")
