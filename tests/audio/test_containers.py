"""Decoding: nothing before the music, nothing after it, any part exact."""

import sys

import av
import numpy as np
import pytest
import soundfile as sf
import torch

from mssedu.audio.stream import read_blocks, scan
from mssedu.audio.tensors import audio_info, load_audio, save_audio
from mssedu.errors import AudioFileError, InputError, SetupError
from tests.audio.sounds import encode, noise


def click(n0: int, samples: int = 50_000, channels: int = 2) -> torch.Tensor:
    audio = 0.01 * torch.randn(channels, samples)
    audio[:, n0] = 0.9
    return audio


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize("samples", [500, 1024, 5000, 50_001])
@pytest.mark.parametrize("channels", [1, 2])
def test_m4a_has_lag_zero_and_exact_length(tmp_path, rate, samples, channels):
    n0 = samples // 3
    audio = click(n0, samples, channels)
    path = encode(tmp_path / "雨天 #1.m4a", audio, rate=rate)
    loaded, sample_rate = load_audio(path)
    assert sample_rate == rate
    assert loaded.shape == (channels, samples)
    assert loaded[0].abs().argmax() == n0
    info = audio_info(path)
    assert (info.sample_rate, info.channels, info.samples) == (rate, channels, samples)
    assert info.codec == "aac"


@pytest.mark.parametrize("options", [{}, {"write_xing": "0"}])
def test_mp3_is_read_to_its_end(tmp_path, options):
    # Without its length tag an mp3 keeps the padding, but it must not lose any music.
    path = encode(tmp_path / "a.mp3", click(40_000), codec="libmp3lame", **options)
    loaded, _ = load_audio(path)
    lag = 0 if not options else 1105  # samples that the tag would mark as padding
    assert loaded[0].abs().argmax() == 40_000 + lag
    assert loaded.shape[1] == audio_info(path).samples
    assert loaded.shape[1] == 50_000 if not options else loaded.shape[1] > 50_000


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.m4a", "aac"), ("a.m4a", "alac"), ("a.mka", "aac"), ("a.wma", "wmav2")],
)
def test_part_equals_slice_of_the_whole(tmp_path, name, codec):
    path = tmp_path / name
    encode(path, click(20_000), codec=codec)
    whole, rate = load_audio(path)
    assert audio_info(path).samples == whole.shape[1]
    for first in (0, 1023, 20_000, 44_100):
        part, _ = load_audio(
            path, start_seconds=first / rate, duration_seconds=3000 / rate
        )
        assert part.equal(whole[:, first : first + 3000])
    assert load_audio(path, start_seconds=0.5)[0].equal(whole[:, rate // 2 :])


def test_stems_file_has_streams_of_equal_length_in_whole_frames(tmp_path):
    path = encode(tmp_path / "a.stem.mp4", *(click(1000 * k) for k in range(1, 6)))
    for k in range(5):
        loaded, _ = load_audio(path, stream=k)
        assert loaded[0].abs().argmax() == 1000 * (k + 1)
        # The last frame is kept whole, as the official MUSDB18 loader does.
        assert loaded.shape[1] == audio_info(path, stream=k).samples == 49 * 1024
    with pytest.raises(InputError, match=r"a\.stem\.mp4: stream .* 0 to 4, got 5"):
        load_audio(path, stream=5)


def first_block(*args, **options):
    return next(read_blocks(*args, **options))


READERS = pytest.mark.parametrize("read", [load_audio, audio_info, scan, first_block])
PART_READERS = pytest.mark.parametrize("read", [load_audio, scan, first_block])


@READERS
def test_what_cannot_be_read_is_named(tmp_path, read):
    empty, junk, no_samples = (tmp_path / f"{n}.wav" for n in ("empty", "junk", "none"))
    empty.touch()
    junk.write_bytes(b"noise" * 1000)
    sf.write(no_samples, np.zeros((0, 2)), 44100)
    for path, words in [
        (tmp_path / "missing.wav", r"missing\.wav does not exist"),
        (tmp_path, "is a folder"),
        (empty, r"empty\.wav is empty"),
        (junk, r"junk\.wav cannot be read"),
        (no_samples, r"none\.wav holds no samples"),
    ]:
        with pytest.raises(AudioFileError, match=words):
            read(path)


@READERS
def test_what_ffmpeg_cannot_read_is_named(tmp_path, read):
    junk, picture = tmp_path / "junk.m4a", tmp_path / "picture.mp4"
    junk.write_bytes(b"noise" * 1000)
    with av.open(str(picture), "w") as container:
        track = container.add_stream("mpeg4", rate=25)
        track.width = track.height = 16
        container.mux(track.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(track.encode(None))
    for path, words in [(junk, "Invalid data"), (picture, "it has no audio stream")]:
        with pytest.raises(AudioFileError, match=f"{path.name} .*{words}"):
            read(path)


@PART_READERS
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".m4a"])
def test_parts_outside_the_file_are_refused(tmp_path, suffix, read):
    path = tmp_path / f"a{suffix}"
    if suffix == ".m4a":
        encode(path, click(10, 44100))
    else:
        save_audio(path, click(10, 44100), 44100)
    with pytest.raises(InputError, match=rf"start_seconds = 1\.0 .*a\{suffix}"):
        read(path, start_seconds=1.0)
    with pytest.raises(InputError, match=r"start_seconds .*got -1"):
        read(path, start_seconds=-1)
    with pytest.raises(InputError, match=r"duration_seconds .*got 0"):
        read(path, duration_seconds=0)
    with pytest.raises(InputError, match=r"stream( .*got |=)1\."):
        read(path, stream=1)


def test_without_pyav_the_install_command_is_given(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.m4a", click(10))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SetupError, match=r"\.m4a files .*pip install av"):
        load_audio(path)


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "cp1251"])
def test_tags_in_old_encodings_are_no_reason_to_refuse_a_song(tmp_path, encoding):
    path = tmp_path / "song.mp3"
    sf.write(path, noise(2, 20_000).T.numpy(), 44100)
    title = {"latin-1": "café", "gbk": "雨天", "cp1251": "дождь"}[encoding]
    tag = b"TAG" + title.encode(encoding).ljust(124, b"\0") + b"\xff"  # ID3v1
    path.write_bytes(path.read_bytes() + tag)
    loaded, rate = load_audio(path)
    assert (loaded.shape[0], rate) == (2, 44100)
