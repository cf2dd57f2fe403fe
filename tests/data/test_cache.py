"""The cache of decoded audio: how exact, how fresh, how safe it is."""

import dataclasses
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from mssedu.audio.tensors import save_audio
from mssedu.data import cache
from mssedu.data.cache import cached
from mssedu.data.segments import RandomSegments
from mssedu.data.track import StemFile, Track, data_sha256
from mssedu.errors import AudioFileError, DiskError, InputError, MssEduWarning

RATE, SAMPLES = 8000, 4000
STEMS = ("vocals", "drums")


def noise(seed: int, peak: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    audio = torch.randn(2, SAMPLES, generator=generator)
    return audio * peak / audio.abs().max()


def song(
    folder: Path, name: str = "song", *, peak: float = 0.5, suffix: str = ".wav"
) -> Track:
    """Stems and a mixture with a rest, in files of 32 bits, or in lossy ones."""
    folder = folder / name
    folder.mkdir(parents=True)
    parts = {stem: noise(n, peak) for n, stem in enumerate(STEMS)}
    parts["mixture"] = sum(parts.values()) + noise(9, peak / 10)
    files = []
    for stem, audio in parts.items():
        path = folder / f"{stem}{suffix}"
        subtype = "float32" if suffix == ".wav" else "int16"
        save_audio(path, audio, RATE, subtype=subtype)
        files.append(StemFile(stem, path))
    return Track(name, STEMS, RATE, 2, SAMPLES, files=tuple(files))


def copies(folder: Path) -> dict[str, float]:
    """Time of change of each copy."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}


# ---- how exact ---------------------------------------------------------------------


@pytest.mark.parametrize("peak", [0.01, 0.5, 3.0])
def test_int16_errs_by_half_a_step_and_clips_nothing(tmp_path, peak):
    track = song(tmp_path, peak=peak)
    (copy,) = cached([track], tmp_path / "cache")
    for file, read in zip(track.files, copy.files, strict=True):
        original, stored = torch.empty(2, SAMPLES), torch.empty(2, SAMPLES)
        track._load(original.numpy(), file, 0, 1.0)
        copy._load(stored.numpy(), read, 0, 1.0)
        step = float(original.abs().max()) / 32767
        assert read.cache.scale == pytest.approx(step)
        assert (original - stored).abs().max() <= step / 2 * 1.001
        assert stored.abs().max() == pytest.approx(float(original.abs().max()))


@pytest.mark.parametrize("peak", [0.01, 0.5, 1e6])
def test_float16_errs_by_a_2048th_of_each_sample(tmp_path, peak):
    track = song(tmp_path, peak=peak)
    (copy,) = cached([track], tmp_path / "cache", dtype="float16")
    error = (track.sources() - copy.sources()).abs()
    assert (error <= track.sources().abs() / 2048 + max(1, peak) * 3e-8).all()
    assert error.max() > 0


def test_16_bit_files_have_no_error(tmp_path):
    for suffix in (".wav", ".flac"):
        path = tmp_path / f"a{suffix}"
        audio = noise(0, 1.0)
        audio[0, 0] = -1.0
        save_audio(path, audio, RATE)
        track = Track("a", ("a",), RATE, 2, SAMPLES, files=(StemFile("a", path),))
        (copy,) = cached([track], tmp_path / "cache")
        assert torch.equal(copy.stem("a"), track.stem("a"))


def test_silence_stays_silent(tmp_path):
    path = tmp_path / "a.wav"
    save_audio(path, torch.zeros(1, 100), RATE, subtype="float32")
    track = Track("a", ("a",), RATE, 1, 100, files=(StemFile("a", path),))
    (copy,) = cached([track], tmp_path / "cache")
    assert torch.equal(copy.stem("a"), torch.zeros(1, 100))


@pytest.mark.parametrize("suffix", [".wav", ".ogg", ".mp3"])
def test_all_parts_of_the_mixture_come_from_the_cache(tmp_path, suffix, monkeypatch):
    track = song(tmp_path, suffix=suffix)
    (copy,) = cached([track], tmp_path / "cache")
    expected = {part: track.stem(part) for part in (*track.stems, *track.unselected)}
    monkeypatch.setattr("mssedu.data.track.load_audio", None)  # no file is read
    for part, audio in expected.items():
        torch.testing.assert_close(copy.stem(part), audio, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        copy.stem("drums", 0.1, 0.2), copy.stem("drums")[:, 800:2400]
    )
    grouped = copy.with_stems(["instrumental=-vocals"])
    whole = copy.mixture() - copy.stem("vocals")
    torch.testing.assert_close(grouped.stem("instrumental"), whole)
    assert torch.equal(copy.in_memory().mixture(), copy.mixture())


def test_padded_and_silent_and_absent_stems(tmp_path):
    track = song(tmp_path)
    short = tmp_path / "song" / "short.wav"
    save_audio(short, noise(3, 0.5)[:, :1000], RATE)
    files = (*track.files, StemFile("bass", short, n_samples=1000))
    stems = (*STEMS, "bass", "piano", "pipa")
    track = dataclasses.replace(
        track, files=files, stems=stems, silent=("piano",), absent=("pipa",)
    )
    (copy,) = cached([track], tmp_path / "cache")
    torch.testing.assert_close(copy.sources(), track.sources(), atol=1e-4, rtol=0)
    assert copy.absent == ("pipa",)


# ---- how fresh ---------------------------------------------------------------------


def test_copies_are_made_once(tmp_path):
    track, lines, steps = song(tmp_path), [], []
    folder = tmp_path / "cache"
    options = {"log": lines.append, "progress": lambda *step: steps.append(step)}
    first = cached([track], folder, **options)
    assert lines == [f"{folder}: 3 of 3 files are decoded once, 48 kB"]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    before = copies(folder)
    assert cached([track], folder, **options) == first
    assert (len(lines), len(steps), copies(folder)) == (1, 3, before)
    assert sum(path.stat().st_size for path in folder.glob("*.npy")) < 3 * 16200


@pytest.mark.parametrize("how", ["size", "time"])
def test_a_file_that_changed_is_decoded_again_and_the_reason_is_said(tmp_path, how):
    track, folder, lines = song(tmp_path), tmp_path / "cache", []
    cached([track], folder)
    before = copies(folder)
    path, other = track.files[0].path, noise(7, 0.2)
    if how == "size":
        save_audio(path, other, RATE, subtype="int24")
    else:
        stat = path.stat()
        save_audio(path, other, RATE, subtype="float32")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        assert path.stat().st_size == stat.st_size
    (copy,) = cached([track], folder, log=lines.append)
    torch.testing.assert_close(copy.stem("vocals"), other, atol=1e-4, rtol=0)
    name = "size was" if how == "size" else "mtime_ns was"
    assert "1 of 3 files" in lines[0]
    assert lines[1].startswith(f"1 stale copy is made again: vocals.wav: {name}")
    after = copies(folder)
    assert (len(after), len(after.keys() & before.keys())) == (3, 2)


def test_a_stale_copy_is_a_warning_without_a_log(tmp_path):
    track, folder = song(tmp_path), tmp_path / "cache"
    cached([track], folder)
    os.utime(track.files[0].path, ns=(1, 1))
    with pytest.warns(
        MssEduWarning, match=r"stale copy .*vocals.wav: mtime_ns was .* is 1"
    ):
        cached([track], folder)


def test_copies_of_another_version_are_made_again(tmp_path, monkeypatch):
    track, folder, lines = song(tmp_path), tmp_path / "cache", []
    cached([track], folder)
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    cached([track], folder, log=lines.append)
    assert lines[1].startswith("3 stale copies are made again: ")
    assert "version was" in lines[1]


def test_two_formats_and_two_streams_do_not_meet(tmp_path):
    track, folder = song(tmp_path), tmp_path / "cache"
    (small,) = cached([track], folder)
    (other,) = cached([track], folder, dtype="float16")
    assert len(copies(folder)) == 6
    assert {f.cache.dtype for f in small.files} == {"int16"}
    assert not torch.equal(small.sources(), other.sources())


# ---- how safe ----------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"made_of": 3}', "\0" * 50])
def test_a_damaged_record_is_made_again(tmp_path, content):
    track, folder, lines = song(tmp_path), tmp_path / "cache", []
    cached([track], folder)
    for path in folder.glob("*.json"):
        path.write_text(content)
    (copy,) = cached([track], folder, log=lines.append)
    assert "its record is damaged" in lines[1]
    torch.testing.assert_close(copy.sources(), track.sources(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_copy_is_made_again(tmp_path, damage):
    track, folder, lines = song(tmp_path), tmp_path / "cache", []
    cached([track], folder)
    for path in folder.glob("*.npy"):
        if damage == "cut":
            path.write_bytes(path.read_bytes()[:-100])
        else:
            path.unlink()
    (copy,) = cached([track], folder, log=lines.append)
    assert "the copy is damaged" in lines[1]
    torch.testing.assert_close(copy.sources(), track.sources(), atol=1e-4, rtol=0)


def test_a_stopped_build_goes_on(tmp_path):
    tracks = [song(tmp_path, name) for name in "abc"]
    folder, lines = tmp_path / "cache", []

    def stop(done, _):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tracks, folder, n_threads=1, progress=stop)
    there = len(list(folder.glob("*.json")))
    assert 4 <= there < 9
    cached(tracks, folder, log=lines.append)
    assert lines == [
        f"{folder}: {9 - there} of 9 files are decoded once, {16 * (9 - there)} kB"
    ]
    assert not [p for p in folder.iterdir() if p.suffix not in (".npy", ".json")]


def test_an_unfinished_copy_is_not_taken_for_a_whole_one(tmp_path, monkeypatch):
    """A kill between the two files of a copy leaves no record."""
    track, folder = song(tmp_path), tmp_path / "cache"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            cached([track], folder, n_threads=1)
    assert not list(folder.glob("*.json"))
    (copy,) = cached([track], folder)
    torch.testing.assert_close(copy.sources(), track.sources(), atol=1e-4, rtol=0)


def test_a_full_disk_is_known_before(tmp_path, monkeypatch):
    track = song(tmp_path)
    monkeypatch.setattr("mssedu.audio.disk.free_bytes", lambda _: 1000)
    with pytest.raises(DiskError, match=r"copies of 3 files need 48 kB, .* 1 kB"):
        cached([track], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_faults_are_named(tmp_path):
    track = song(tmp_path)
    with pytest.raises(InputError, match="unknown dtype 'int8'"):
        cached([track], tmp_path / "cache", dtype="int8")
    with pytest.raises(InputError, match="n_threads must be at least 1"):
        cached([track], tmp_path / "cache", n_threads=0)
    audio = noise(0, 0.5)
    audio[1, 5] = torch.nan
    soundfile.write(track.files[0].path, audio.T.numpy(), RATE, subtype="FLOAT")
    with pytest.raises(InputError, match=r"vocals.wav has 1 NaN"):
        cached([track], tmp_path / "cache")
    track.files[0].path.write_bytes(b"RIFF no sound")
    with pytest.raises(AudioFileError, match="vocals"):
        cached([track], tmp_path / "other")


# ---- tracks stay tracks ------------------------------------------------------------


def test_tracks_keep_their_identity_and_can_be_sent(tmp_path):
    track = song(tmp_path)
    (copy,) = cached([track], tmp_path / "cache")
    assert data_sha256([copy]) == data_sha256([track])
    assert pickle.loads(pickle.dumps(copy)) == copy
    assert len(pickle.dumps(copy)) < 5000  # no samples
    in_memory = track.in_memory()
    assert cached([in_memory], tmp_path / "cache")[0] is in_memory


def test_spawned_workers_read_the_same(tmp_path):
    tracks = cached([song(tmp_path, name) for name in "ab"], tmp_path / "cache")
    shutil.rmtree(tmp_path / "a")  # the originals are not needed any more
    segments = RandomSegments(tracks, STEMS, 0.1, 6, seed=0)
    alone = list(DataLoader(segments, batch_size=2))
    spawned = DataLoader(
        segments, batch_size=2, num_workers=2, multiprocessing_context="spawn"
    )
    for ours, theirs in zip(alone, spawned, strict=True):
        assert torch.equal(ours.sources, theirs.sources)


def test_a_record_says_of_which_file_it_is(tmp_path):
    track = song(tmp_path)
    cached([track], tmp_path / "cache")
    documents = [json.loads(p.read_text()) for p in (tmp_path / "cache").glob("*.json")]
    files = {document["made_of"]["file"] for document in documents}
    assert files == {str(file.path) for file in track.files}


def test_a_copy_that_was_deleted_is_named(tmp_path):
    (copy,) = cached([song(tmp_path)], tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(AudioFileError, match=r"npy: the decoded copy .*cached again"):
        copy.stem("vocals")
