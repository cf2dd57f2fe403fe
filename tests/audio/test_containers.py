"""FFmpeg's formats: nothing before the music, nothing behind, any part exact."""

import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from mssedu.audio.tensors import audio_info, load_audio
from mssedu.errors import AudioFileError, InputError, SetupError


def encode(
    path: Path, *streams: torch.Tensor, codec: str = "aac", rate: int = 44100, **options
) -> Path:
    """Write each (channels, samples) as one audio stream of a file."""
    with av.open(str(path), "w", options=options) as container:
        tracks = []
        for audio in streams:
            layout = {1: "mono", 2: "stereo"}[len(audio)]
            tracks.append(container.add_stream(codec, rate=rate, layout=layout))
            tracks[-1].bit_rate = 128_000
        for audio, track in zip(streams, tracks, strict=True):
            layout = {1: "mono", 2: "stereo"}[len(audio)]
            data = np.ascontiguousarray(audio.numpy())
            frame = av.AudioFrame.from_ndarray(data, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            container.mux(track.encode(frame))
            container.mux(track.encode(None))
    return path


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
    # Without its length tag an mp3 keeps the padding, but must not lose any music.
    path = encode(tmp_path / "a.mp3", click(40_000), codec="libmp3lame", **options)
    loaded, _ = load_audio(path)
    lag = 0 if not options else 1105  # what the tag would have told to drop
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
    with pytest.raises(InputError, match=r"stream in 0 … 4 of .*got 5\. Choose one"):
        load_audio(path, stream=5)


def test_a_start_behind_the_end_is_refused(tmp_path):
    path = encode(tmp_path / "a.m4a", click(10, 44100))
    with pytest.raises(
        InputError, match=r"before the file's end, got start_seconds 1\.0"
    ):
        load_audio(path, start_seconds=1.0)


def test_what_ffmpeg_cannot_read_is_named(tmp_path):
    junk, picture = tmp_path / "junk.m4a", tmp_path / "picture.mp4"
    junk.write_bytes(b"noise" * 1000)
    with av.open(str(picture), "w") as container:
        track = container.add_stream("mpeg4", rate=25)
        track.width = track.height = 16
        container.mux(track.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(track.encode(None))
    for path, words in [(junk, "Invalid data"), (picture, "it has no audio stream")]:
        with pytest.raises(AudioFileError, match=f"readable audio, got .*{words}"):
            load_audio(path)
        with pytest.raises(AudioFileError, match=f"readable audio, got .*{words}"):
            audio_info(path)


def test_without_pyav_the_install_command_is_given(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.m4a", click(10))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SetupError, match="Install it with: pip install av"):
        load_audio(path)
