"""Blocks give sample for sample what the whole gives, in memory that stays small."""

import hashlib
import math
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from mssedu.audio.stream import Reader, Spool, read_blocks, resample_blocks, scan
from mssedu.audio.tensors import load_audio, resample, save_audio
from mssedu.errors import AudioFileError, InputError
from tests.audio.sounds import encode, noise, ragged

FORMATS = pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".m4a"])
CLICK = 12_345


def song(folder, suffix, channels=2, samples=50_000):
    """A file of noise with a click; m4a by FFmpeg, which save_audio does not write."""
    audio = noise(channels, samples)
    audio[:, CLICK % samples] = 0.9
    path = folder / f"雨天 #1{suffix}"
    if suffix != ".m4a":
        save_audio(path, audio, 44100)
        return path
    return encode(path, audio)


def open_files():
    return {os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()}


# ---- read_blocks --------------------------------------------------------------------


@FORMATS
@pytest.mark.parametrize("length", [1, 999, 1024, 20_000, 65536])
def test_blocks_are_the_whole(tmp_path, suffix, length):
    samples = 2000 if length == 1 else 50_000
    path = song(tmp_path, suffix, samples=samples)
    blocks = list(read_blocks(path, length=length))
    assert {block.dtype for block in blocks} == {torch.float32}
    sizes = [block.shape[1] for block in blocks]
    assert sizes[:-1] == [length] * (len(sizes) - 1)
    assert 1 <= sizes[-1] <= length
    whole = torch.cat(blocks, 1)
    assert whole.equal(load_audio(path)[0])
    assert whole.shape == (2, samples)
    assert whole.abs().argmax(1).tolist() == [CLICK % samples] * 2


@FORMATS
@pytest.mark.parametrize("length", [333, 65536])
def test_parts_are_what_load_audio_gives(tmp_path, suffix, length):
    path = song(tmp_path, suffix)
    for first, count in [(0, 1), (1, 700), (20_000, 30_000), (49_999, 9), (44_100, 0)]:
        part = {"start_seconds": first / 44100}
        if count:
            part["duration_seconds"] = count / 44100
        blocks = list(read_blocks(path, **part, length=length))
        assert torch.cat(blocks, 1).equal(load_audio(path, **part)[0])


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("channels", [1, 2])
def test_files_of_one_sample(tmp_path, suffix, channels):
    path = song(tmp_path, suffix, channels, 1)
    (block,) = read_blocks(path)
    assert block.shape == (channels, 1)
    assert block.equal(load_audio(path)[0])


@pytest.mark.skipif(not Path("/proc").exists(), reason="open files are listed there")
@FORMATS
def test_closing_closes_the_file(tmp_path, suffix):
    path = song(tmp_path, suffix)
    blocks = read_blocks(path, length=100)
    assert os.path.realpath(path) not in open_files()
    next(blocks)
    assert os.path.realpath(path) in open_files()
    blocks.close()
    assert os.path.realpath(path) not in open_files()


def test_ten_minutes_take_a_few_megabytes(tmp_path):
    for suffix in (".wav", ".mp3"):
        path = tmp_path / f"a{suffix}"
        rate = 8000  # 600 s of stereo in float32: 38 MB
        with sf.SoundFile(path, "w", rate, 2) as file:
            for _ in range(600):
                file.write(np.zeros((rate, 2), np.float32))
        tracemalloc.start()
        samples = sum(block.shape[1] for block in read_blocks(path))
        found = scan(path)
        reader = Reader(resample_blocks(read_blocks(path), rate, 2 * rate, samples))
        for second in range(600):  # what a model is shown: two seconds, half overlapped
            end = min(second + 2, 600)
            assert not reader.read(2 * rate * second, 2 * rate * end).any()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert samples == found.samples == found.total_samples == 600 * rate
        assert peak < 8e6


# ---- scan ---------------------------------------------------------------------------


@FORMATS
def test_scan_counts_what_load_audio_reads(tmp_path, suffix):
    path = song(tmp_path, suffix)
    audio, rate = load_audio(path)
    found = scan(path)
    assert (found.sample_rate, found.channels) == (rate, 2)
    assert found.samples == found.total_samples == audio.shape[1]
    assert found.peak == audio.abs().max().item()
    assert (found.n_nonfinite, found.first_nonfinite) == (0, None)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    part = {"start_seconds": 0.5, "duration_seconds": 0.25}
    found, (audio, _) = scan(path, **part), load_audio(path, **part)
    assert (found.samples, found.total_samples) == (audio.shape[1], 50_000)
    assert found.peak == audio.abs().max().item() < 0.5  # the click lies before
    assert scan(path, start_seconds=1.0).total_samples == 50_000
    assert scan(path, duration_seconds=9.0).samples == 50_000


def test_scan_finds_what_is_not_finite(tmp_path):
    audio = noise(2, 200_000)
    audio[0, 7] = -0.75
    audio[1, 100_000] = math.nan
    audio[:, 150_000:150_005] = -math.inf
    path = tmp_path / "a.wav"
    sf.write(path, audio.T.numpy(), 44100, "FLOAT")
    found = scan(path)
    assert (found.n_nonfinite, found.first_nonfinite) == (11, 100_000)
    assert found.peak == 0.75
    found = scan(path, start_seconds=99_000 / 44100, duration_seconds=2000 / 44100)
    assert (found.n_nonfinite, found.first_nonfinite) == (1, 1000)
    assert found.peak < 0.11


def test_blocks_have_a_length(tmp_path):
    with pytest.raises(InputError, match=r"length .*got 0"):
        next(read_blocks(song(tmp_path, ".wav"), length=0))


# ---- resample_blocks ----------------------------------------------------------------

RATES = [(44100, 48000), (48000, 44100), (48000, 22050), (22050, 48000), (44100, 22050)]


@pytest.mark.parametrize(("old", "new"), [*RATES, (22050, 44100), (44100, 44056)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_resampled_blocks_are_the_resampled_whole(old, new, dtype):
    for shape in [(2, 100_003), (4, 2, 30_000), (999,), (2, 7), (1, 1), (3, 2, 2)]:
        audio = noise(*shape).to(dtype)
        whole = resample(audio, old, new)
        for blocks in (ragged(audio), ragged(audio, 7), [audio]):
            done = torch.cat([*resample_blocks(blocks, old, new, shape[-1])], -1)
            assert done.dtype == dtype
            assert done.equal(whole)


def test_a_sample_may_vanish_in_a_lower_rate():
    blocks = [*resample_blocks([noise(2, 1)], 44100, 8000, 1)]
    assert torch.cat(blocks, -1).shape == (2, 0)
    assert resample(noise(2, 1), 44100, 8000).shape == (2, 0)


def test_resampling_holds_back_little():
    taken = 0

    def blocks():
        nonlocal taken
        for _ in range(1000):
            taken += 1000
            yield torch.zeros(2, 1000)

    given = 0
    for block in resample_blocks(blocks(), 44100, 22050, 1_000_000):
        given += block.shape[1]
        assert taken / 2 - given < 20_000
    assert given == 500_000


def test_equal_rates_hand_the_same_blocks_back():
    blocks = ragged(noise())
    done = [*resample_blocks(blocks, 44100, 44100, 50_000)]
    assert all(a is b for a, b in zip(done, blocks, strict=True))


def test_resample_blocks_refuses_what_it_cannot_do():
    for rates, samples, words in [
        ((0, 44100), 9, "from_rate .*got 0"),
        ((44100, 0), 9, "to_rate .*got 0"),
        ((44100, 48000), 0, "samples .*got 0"),
        ((44100, 48000), 10, r"samples = 10, .* 9 samples"),
    ]:
        with pytest.raises(InputError, match=words):
            list(resample_blocks([noise(2, 9)], *rates, samples))
    with pytest.raises(InputError, match=r"torch.int16 of shape \(2, 9\)"):
        list(resample_blocks([noise(2, 9).short()], 44100, 48000, 9))
    with pytest.raises(InputError, match=r"samples = 9, .* 0 samples"):
        list(resample_blocks([], 44100, 48000, 9))


# ---- Reader -------------------------------------------------------------------------


@pytest.mark.parametrize("longest", [1, 10, 300, 5000])
@pytest.mark.parametrize(("stride", "length"), [(100, 130), (100, 100), (150, 70)])
def test_reader_shows_overlapping_chunks(longest, stride, length):
    audio = torch.arange(4000.0).repeat(2, 1)
    reader = Reader(ragged(audio, longest))
    for start in range(0, 4000 - length, stride):
        chunk = reader.read(start, start + length)
        assert chunk.equal(audio[:, start : start + length])
    assert reader.read(3999, 4000).equal(audio[:, 3999:])


def test_reader_keeps_what_it_is_told_to_keep():
    audio = torch.arange(1000.0)[None]
    reader = Reader(ragged(audio, 50))
    assert reader.read(300, 400, keep_from=250).equal(audio[:, 300:400])
    assert reader.read(250, 260, keep_from=260).equal(audio[:, 250:260])
    assert reader.read(250, 500).equal(audio[:, 250:500])
    with pytest.raises(AssertionError, match="a reader moves forward"):
        reader.read(249, 500)


def test_reader_ends_with_the_stream():
    reader = Reader([noise(2, 100)])
    assert reader.read(100, 100).shape == (2, 0)
    with pytest.raises(AssertionError, match="inside the stream"):
        reader.read(100, 101)


def test_reader_of_a_tensor_copies_nothing():
    audio = noise()
    reader = Reader([audio])
    for start in (0, 10_000, 40_000):
        chunk = reader.read(start, start + 10_000)
        assert chunk.data_ptr() == audio[:, start:].data_ptr()


def test_reader_forgets():
    def thousand():
        return (torch.zeros(1, 1000) for _ in range(1000))

    def size(chunk):  # what is alive because of it, in samples
        return chunk.untyped_storage().nbytes() // 4

    reader = Reader(thousand())
    starts = range(0, 990_000, 3000)
    assert max(size(reader.read(i, i + 10_000)) for i in starts) <= 12_000
    # A jump far ahead keeps nothing of what lies between.
    assert size(Reader(thousand()).read(900_000, 900_100)) <= 3000


# ---- Spool --------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(2,), (4, 2), ()])
@pytest.mark.parametrize("length", [1, 999, 65536])
def test_spool_gives_back_what_it_got(tmp_path, axes, length):
    audio = 6.35 * torch.randn(*axes, 3000)
    with Spool(tmp_path, axes) as spool:
        for block in ragged(audio, 500):
            spool.write(block)
        assert spool.samples == 3000
        for _ in range(2):
            blocks = [*spool.blocks(length)]
            assert {block.shape[-1] for block in blocks[:-1]} <= {length}
            assert torch.cat(blocks, -1).equal(audio)
        spool.write(audio[..., :10])
        first, second = spool.blocks(2000), spool.blocks(2000)  # both at once
        assert all(a.equal(b) for a, b in zip(first, second, strict=True))
        assert torch.cat([*spool.blocks()], -1)[..., 3000:].equal(audio[..., :10])


def test_spool_without_blocks_is_empty(tmp_path):
    with Spool(tmp_path, (2,)) as spool:
        assert [*spool.blocks()] == []
        with pytest.raises(InputError, match=r"length .*got 0"):
            next(spool.blocks(0))


def test_spool_keeps_one_form(tmp_path):
    with Spool(tmp_path, (4, 2)) as spool:
        with pytest.raises(AssertionError, match="one shape"):
            spool.write(torch.zeros(2, 4, 9))
        with pytest.raises(AssertionError):
            spool.write(torch.zeros(4, 2, 9).double())


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
def test_spool_leaves_nothing_behind(tmp_path, error):
    def fail():
        with Spool(tmp_path, (2,)) as spool:
            spool.write(noise())
            raise error

    with pytest.raises(type(error)):
        fail()
    assert not list(tmp_path.iterdir())


def test_spool_tells_where_it_has_no_room(tmp_path, monkeypatch):
    with (
        pytest.raises(AudioFileError, match=r"temporary file in .*missing"),
        Spool(tmp_path / "missing", (2,)),
    ):
        pass
    with Spool(tmp_path, (2,)) as spool:

        class Full:
            seek, close = spool._file.seek, spool._file.close

            def write(self, data):
                raise OSError("No space left on device")

        spool._file = Full()
        with pytest.raises(AudioFileError, match="No space left on device"):
            spool.write(noise())
