"""Decoding: nothing before the music, nothing after it, any part exact."""

import http.server
import os
import shutil
import struct
import sys
import threading

import av
import numpy as np
import pytest
import soundfile as sf
import torch

from mssedu.audio.containers import READABLE_SUFFIXES
from mssedu.audio.stream import read_blocks, scan
from mssedu.audio.tensors import audio_info, load_audio, save_audio
from mssedu.errors import AudioFileError, InputError, MssEduWarning, SetupError
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


# ---- which decoder ------------------------------------------------------------------

# A suffix, and the encoder for it: of libsndfile in capitals, else of FFmpeg
ENCODERS = {
    ".wav": "WAV",
    ".wave": "WAV",
    ".bwf": "WAVEX",
    ".rf64": "RF64",
    ".w64": "W64",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".aifc": "AIFF",
    ".caf": "CAF",
    ".au": "AU",
    ".snd": "AU",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".voc": "VOC",
    ".oga": "flac",
    ".opus": "libopus",
    ".mp3": "libmp3lame",
    ".mp2": "mp2",
    ".m4a": "aac",
    ".m4b": "aac",
    ".mp4": "alac",
    ".m4v": "aac",
    ".mov": "pcm_s16le",
    ".3gp": "aac",
    ".3g2": "aac",
    ".aac": "aac",
    ".ac3": "ac3",
    ".eac3": "eac3",
    ".wma": "wmav2",
    ".asf": "wmav2",
    ".webm": "libopus",
    ".mka": "aac",
    ".mkv": "flac",
    ".ogv": "flac",
    ".avi": "libmp3lame",
    ".flv": "aac",
    ".ts": "aac",
    ".mts": "aac",
    ".m2ts": "ac3",
    ".mpg": "mp2",
    ".mpeg": "mp2",
    ".vob": "ac3",
    ".nut": "flac",
    ".wv": "wavpack",
    ".tta": "tta",
    ".amr": "libopencore_amrnb",
}


@pytest.mark.parametrize("suffix", ENCODERS)
def test_what_a_folder_search_finds_can_be_read(tmp_path, suffix):
    assert suffix in READABLE_SUFFIXES
    path, codec = tmp_path / f"a{suffix}", ENCODERS[suffix]
    if not codec.isupper() and codec not in av.codecs_available:
        pytest.skip(f"PyAV {av.__version__} has no encoder {codec}")
    rate = {"libopus": 48000, "libopencore_amrnb": 8000}.get(codec, 44100)
    channels = 1 if suffix == ".amr" else 2
    audio = noise(channels, rate)
    if codec.isupper():
        sf.write(path, audio.T.numpy(), rate, format=codec)
    else:
        encode(path, audio, codec=codec, rate=rate)
    loaded, sample_rate = load_audio(path)
    assert (sample_rate, len(loaded)) == (rate, channels)
    assert abs(loaded.shape[1] / rate - 1) < 0.1
    assert audio_info(path).samples == loaded.shape[1] == scan(path).samples
    assert loaded.abs().max() > 0.03


@pytest.mark.parametrize(
    ("suffix", "codec", "other"),
    [
        (".m4a", "aac", ".wav"),
        (".webm", "libopus", ".wav"),
        (".wav", "ac3", ".wav"),
        (".oga", "flac", ".ogg"),
        (".wav", "pcm_s16le", ".mp3"),
        (".flac", "flac", ".m4a"),
        (".mp3", "libmp3lame", ".flac"),
        (".ogg", "libopus", ".mp3"),
        (".m4a", "alac", ".txt"),
    ],
)
def test_the_content_decides_and_not_the_name(tmp_path, suffix, codec, other):
    rate = 48000 if codec == "libopus" else 44100
    audio = click(10_000)
    path = encode(tmp_path / f"a{suffix}", audio, codec=codec, rate=rate)
    loaded, _ = load_audio(path)
    renamed = path.rename(tmp_path / f"b{other}")
    assert loaded[0].abs().argmax() - 10_000 in (0, 256)  # AC-3 adds 256
    for read in (load_audio, scan, audio_info, first_block):
        read(renamed)
    assert load_audio(renamed)[0].equal(loaded)
    assert audio_info(renamed).samples == loaded.shape[1]


def test_a_header_without_length_is_filled_in(tmp_path):
    path, streamed = tmp_path / "crashed.wav", tmp_path / "streamed.wav"
    audio = click(100)
    save_audio(path, audio, 44100)
    data = bytearray(path.read_bytes())
    place = data.find(b"data") + 4
    data[4:8] = data[place : place + 4] = b"\xff" * 4  # written to a pipe
    streamed.write_bytes(data)
    assert load_audio(streamed)[0].shape == audio.shape
    data[4:8] = data[place : place + 4] = bytes(4)  # the recorder crashed
    path.write_bytes(data)
    for read in (load_audio, audio_info):
        with pytest.warns(MssEduWarning, match=r"crashed\.wav: its header says 0 s"):
            read(path)
    assert scan(path).samples == 50_000
    assert "up to the end of the file" in scan(path).damage[0]


def test_an_unknown_codec_is_named(tmp_path):
    path = encode(tmp_path / "a.mov", noise(), codec="pcm_s16le")
    path.write_bytes(path.read_bytes().replace(b"sowt", b"zzzz"))
    with pytest.raises(AudioFileError, match="no decoder for its codec"):
        load_audio(path)


def test_an_empty_sound_stays_empty(tmp_path):
    # FFmpeg would play the text behind the empty chunk.
    path = tmp_path / "a.wav"
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 44100, 176400, 4, 16)
    body = b"WAVE" + form + b"data" + bytes(4) + b"LIST" + struct.pack("<I", 400)
    body += b"INFO" + bytes(396)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    with pytest.raises(AudioFileError, match="holds no samples"):
        load_audio(path)


def test_bw64_is_wav_with_long_sizes(tmp_path):
    path, samples = tmp_path / "a.wav", 30_000
    save_audio(path, click(7, samples), 44100)
    data = path.read_bytes()
    place = data.find(b"data")
    sound = data[place + 8 :]
    sizes = struct.pack("<QQQI", 80 + len(sound), len(sound), samples, 0)
    head = b"BW64" + b"\xff" * 4 + b"WAVEds64" + struct.pack("<I", len(sizes)) + sizes
    whole = head + data[12:36] + b"data" + b"\xff" * 4 + sound
    path.write_bytes(whole)
    assert load_audio(path)[0].shape == (2, samples)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(MssEduWarning, match=r"ends after 0\.34. s, .* says 0\.680 s"):
        load_audio(path)


def test_flac_of_unknown_length_is_counted(tmp_path, monkeypatch):
    path, audio = tmp_path / "a.flac", click(100)
    save_audio(path, audio, 44100)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the number of samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert load_audio(path)[0].shape == audio.shape
    assert audio_info(path).samples == 50_000
    part = load_audio(path, start_seconds=0.5, duration_seconds=0.1)[0]
    assert part.equal(load_audio(path)[0][:, 22050 : 22050 + 4410])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioFileError, match="does not say how long it is"):
        load_audio(path)


def test_chained_ogg_files_are_read_to_the_end(tmp_path):
    path = tmp_path / "a.ogg"
    save_audio(path, noise(), 44100)
    path.write_bytes(2 * path.read_bytes())
    assert load_audio(path)[0].shape[1] > 99_000
    assert audio_info(path).samples == load_audio(path)[0].shape[1]


# ---- what must not be opened --------------------------------------------------------

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\n{}\n#EXT-X-ENDLIST\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
SDP += "m=audio 5004 RTP/AVP 0\n"


@pytest.fixture
def requests():
    """The address of a server, and what was asked of it."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/a.ts", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp3", "list.wav", "list.m4a"])
@pytest.mark.parametrize("kind", ["hls", "hls on the net", "concat", "sdp", "m3u"])
def test_a_playlist_opens_no_other_file(tmp_path, name, kind, requests):
    address, asked = requests
    encode(tmp_path / "a.ts", noise())
    shutil.copy(tmp_path / "a.ts", tmp_path / "secret.ts")
    text = {
        "hls": HLS.format("secret.ts"),
        "hls on the net": HLS.format(address),
        "concat": "ffconcat version 1.0\nfile secret.ts\n",
        "sdp": SDP,
        "m3u": "secret.ts\n",
    }[kind]
    path = tmp_path / name
    path.write_text(text)
    for read in (load_audio, audio_info, scan, first_block):
        with pytest.raises(AudioFileError, match=r"list\..* cannot be read as audio"):
            read(path)
    assert not asked
    if kind == "concat":
        with pytest.raises(AudioFileError, match="Of a playlist, name the songs"):
            load_audio(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioFileError, match="is a pipe or a device"):
        load_audio(tmp_path / "a.wav")


def test_names_that_no_system_accepts(tmp_path):
    for name in ("a\0b.wav", "x" * 300 + ".wav"):
        with pytest.raises(AudioFileError, match=r"does not exist|cannot be opened"):
            load_audio(tmp_path / name)


# ---- where sample 0 is --------------------------------------------------------------

EXACT = [".wav", ".aiff", ".w64", ".caf", ".au", ".flac", ".ogg", ".opus", ".m4a"]
EXACT += [".mp3", ".oga", ".tta", ".wv", ".mp4", ".mov", ".webm"]
RAW_AAC = [".aac", ".flv", ".ts"]


@pytest.mark.parametrize(
    ("suffix", "lag"),
    [(suffix, 0) for suffix in EXACT]
    + [(suffix, 1024) for suffix in RAW_AAC]
    + [(".ac3", 256), (".mp2", 481)],
)
def test_where_sample_0_is(tmp_path, suffix, lag):
    codec = ENCODERS[suffix]
    rate = 48000 if codec == "libopus" else 44100
    path, audio = tmp_path / f"a{suffix}", click(20_000)
    if codec.isupper():
        sf.write(path, audio.T.numpy(), rate, format=codec)
    else:
        encode(path, audio, codec=codec, rate=rate)
    loaded, _ = load_audio(path)
    # An encoder of a lossy format may move the largest sample a little.
    assert abs(int(loaded[0].abs().argmax()) - 20_000 - lag) <= 4
    if not lag:
        assert loaded.shape == audio.shape
