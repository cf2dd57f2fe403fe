"""One writer: the same file from any blocks, complete or not there at all."""

import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest
import soundfile as sf
import torch

from mssedu.audio import writer as audio_writer
from mssedu.audio.tensors import audio_info, load_audio, save_audio
from mssedu.audio.writer import AudioWriter, flac_bytes
from mssedu.errors import AudioFileError, InputError
from tests.audio.sounds import FORMATS, STEP, noise, ragged


def write(path, blocks, rate=44100, **options):
    samples = sum(block.shape[-1] for block in blocks)
    with AudioWriter(path, rate, len(blocks[0]), samples, **options) as writer:
        for block in blocks:
            writer.write(block)
    return path


@FORMATS
@pytest.mark.parametrize("longest", [1, 700, 40_000, 149_000])
def test_blocks_and_whole_give_the_same_file(tmp_path, suffix, longest):
    audio = noise(2, 1000 if longest == 1 else 150_003)
    whole, parts = tmp_path / f"whole{suffix}", tmp_path / f"parts{suffix}"
    save_audio(whole, audio, 44100)
    write(parts, ragged(audio, longest))
    assert load_audio(parts)[0].equal(load_audio(whole)[0])
    if suffix != ".ogg":  # its pages carry a random serial number
        assert parts.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("suffix", "subtype"), [(".wav", "int24"), (".flac", "int24"), (".wav", "float32")]
)
def test_other_subtypes_in_blocks(tmp_path, suffix, subtype):
    audio = noise(3, 70_000)
    save_audio(tmp_path / f"whole{suffix}", audio, 48000, subtype=subtype)
    path = tmp_path / f"parts{suffix}"
    write(path, ragged(audio, 9000), 48000, subtype=subtype)
    whole, rate = load_audio(tmp_path / f"whole{suffix}")
    assert load_audio(path)[0].equal(whole)
    assert rate == audio_info(path).sample_rate == 48000


def test_a_file_of_one_sample(tmp_path):
    path = write(tmp_path / "a.wav", [torch.full((1, 1), 0.5)])
    assert load_audio(path)[0].tolist() == [[0.5]]


def test_empty_blocks_change_nothing(tmp_path):
    audio = noise(2, 10)
    write(tmp_path / "a.wav", [audio[:, :0], audio, audio[:, :0]])
    save_audio(tmp_path / "b.wav", audio, 44100)
    assert load_audio(tmp_path / "a.wav")[0].equal(load_audio(tmp_path / "b.wav")[0])


def test_only_samples_between_steps_are_dithered(tmp_path):
    audio = torch.full((1, 100_000), 0.3 * STEP)
    audio[:, ::2] = 7 * STEP
    steps = load_audio(write(tmp_path / "a.wav", [audio]))[0] / STEP
    assert steps[:, ::2].eq(7).all()
    assert steps[:, 1::2].mean().item() == pytest.approx(0.3, abs=0.01)
    assert steps[:, 1::2].var().item() == pytest.approx(0.25, abs=0.01)


def test_dither_of_channels_and_samples_is_independent(tmp_path):
    audio = torch.full((2, 100_000), 0.5 * STEP)
    steps = load_audio(write(tmp_path / "a.wav", [audio]))[0] / STEP - 0.5
    assert abs(np.corrcoef(steps)[0, 1]) < 0.02
    assert abs(np.corrcoef(steps[0, 1:], steps[0, :-1])[0, 1]) < 0.02


# ---- more than 4 GiB ----------------------------------------------------------------


@pytest.mark.parametrize(("subtype", "size"), [("int16", 2), ("int24", 3)])
def test_a_long_wav_becomes_rf64(tmp_path, monkeypatch, subtype, size):
    audio = torch.randint(-99, 99, (2, 5000)) * STEP
    monkeypatch.setattr(audio_writer, "RIFF_LIMIT", 2 * 5000 * size)
    path = write(tmp_path / "a.wav", [audio], subtype=subtype)
    assert path.read_bytes()[:4] == b"RIFF"
    monkeypatch.setattr(audio_writer, "RIFF_LIMIT", 2 * 5000 * size - 1)
    path = write(tmp_path / "a.wav", [audio], subtype=subtype)
    assert path.read_bytes()[:4] == b"RF64"
    assert load_audio(path)[0].equal(audio)
    assert sf.info(path).format == "RF64"
    with av.open(str(path)) as container:  # FFmpeg as a witness
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    assert sum(frame.shape[1] for frame in frames) == 2 * 5000  # both channels in a row


def test_the_limit_leaves_room_for_the_header():
    assert 2**32 - 2**17 < audio_writer.RIFF_LIMIT < 2**32 - 1000


def test_flac_needs_no_other_format(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_writer, "RIFF_LIMIT", 10)
    assert write(tmp_path / "a.flac", [noise()]).read_bytes()[:4] == b"fLaC"


# ---- mp3 ----------------------------------------------------------------------------


def mp3_bitrate(path):
    """kbit/s by FFmpeg, and by the size of all packets."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        sizes = [packet.size for packet in container.demux(stream) if packet.size]
        seconds = len(sizes) * (1152 if stream.rate >= 32000 else 576) / stream.rate
        return stream.bit_rate // 1000, sum(sizes) * 8 / 1000 / seconds


@pytest.mark.parametrize(
    "rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_of_constant_bitrate(tmp_path, rate, channels):
    audio = noise(channels, 30_000)
    audio[:, 20_000] = 0.9
    table = audio_writer._MP3_BITRATES
    path = tmp_path / "a.mp3"
    for bitrate in table[max(key for key in table if rate >= key)]:
        write(path, [audio], rate, bitrate=bitrate)
        told, counted = mp3_bitrate(path)
        assert told == bitrate
        assert counted == pytest.approx(bitrate, rel=0.02)
        loaded, sample_rate = load_audio(path)
        assert (loaded.shape, sample_rate) == (audio.shape, rate)
        assert loaded[0].abs().argmax() == 20_000


def test_bitrates_that_mp3_does_not_have(tmp_path):
    with pytest.raises(InputError, match=r"256, 320 kbit/s at 44100 Hz.* got 200"):
        AudioWriter(tmp_path / "a.mp3", 44100, 2, 9, bitrate=200)
    with pytest.raises(InputError, match=r"144, 160 kbit/s at 22050 Hz.* got 320"):
        AudioWriter(tmp_path / "a.mp3", 22050, 2, 9, bitrate=320)
    with pytest.raises(InputError, match=r"bitrate = 320 .*FLAC"):
        AudioWriter(tmp_path / "a.flac", 44100, 2, 9, bitrate=320)


# ---- in memory ----------------------------------------------------------------------


def test_flac_bytes_are_the_rounded_samples(tmp_path):
    audio = torch.tensor([[0.5, -0.25, 2.0], [7 * STEP, 0.0, -2.0]])
    (tmp_path / "a.flac").write_bytes(flac_bytes(audio, 48000))
    loaded, rate = load_audio(tmp_path / "a.flac")
    torch.testing.assert_close(loaded, audio.clamp(-1, 1), atol=STEP, rtol=0)
    assert rate == 48000


# ---- errors -------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
@FORMATS
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, suffix, error):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")

    def fail():
        with AudioWriter(path, 44100, 2, 200_000) as writer:
            writer.write(noise(2, 100_000))
            assert len(list(tmp_path.iterdir())) == 2
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_ctrl_c_leaves_nothing_behind(tmp_path):
    program = f"""
import signal, torch
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's "&"
from mssedu.audio.stream import Spool
from mssedu.audio.writer import AudioWriter
with AudioWriter({str(tmp_path / "a.wav")!r}, 44100, 2, 10**9) as writer:
    with Spool({str(tmp_path)!r}, (2,)) as spool:
        while True:
            writer.write(torch.zeros(2, 1000))
            spool.write(torch.zeros(2, 1000))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE
    ) as running:
        while not list(tmp_path.iterdir()) and running.poll() is None:
            time.sleep(0.01)
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        try:
            assert b"KeyboardInterrupt" in running.communicate(timeout=60)[1]
        finally:
            running.kill()  # or the file would grow until the disk is full
    assert not list(tmp_path.iterdir())


def test_an_interrupt_while_opening_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(file, *args, **kwargs):
        file.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(sf, "SoundFile", interrupted)
    with (
        pytest.raises(KeyboardInterrupt),
        AudioWriter(tmp_path / "a.wav", 44100, 2, 9),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_the_first_error_is_told_even_if_closing_fails_too(tmp_path, monkeypatch):
    close = sf.SoundFile.close

    def failing(sound):
        close(sound)
        raise OSError("disk full")

    def fail(writer):
        with writer:
            monkeypatch.setattr(sf.SoundFile, "close", failing)
            raise ValueError("a bug")

    writer = AudioWriter(tmp_path / "a.wav", 44100, 2, 9)
    with pytest.raises(ValueError, match="a bug"):
        fail(writer)
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(sf.SoundFile, "write", full)
    with pytest.raises(AudioFileError, match=r"a\.wav .*No space left"):
        write(tmp_path / "a.wav", [noise(2, 150_003)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("written", [8, 10])
def test_as_many_samples_as_announced(tmp_path, written):
    with (
        pytest.raises(InputError, match=rf"samples = 9, .* {written} samples"),
        AudioWriter(tmp_path / "a.wav", 44100, 2, 9) as writer,
    ):
        writer.write(noise(2, written))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (torch.zeros(9), r"\(9,\)"),
        (torch.zeros(9, 2), r"2 channels.* \(9, 2\)"),
        (torch.zeros(2, 9).short(), "torch.int16"),
        (torch.zeros(2, 9) / 0, r"block from sample 5\) has 18 NaN"),
        (2 * torch.ones(2, 9), r"block from sample 5\) has a peak of 2 "),
    ],
)
def test_blocks_that_are_refused(tmp_path, block, words):
    def fail():
        with AudioWriter(tmp_path / "a.wav", 44100, 2, 14) as writer:
            writer.write(torch.zeros(2, 5))
            writer.write(block)

    with pytest.raises(InputError, match=words):
        fail()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "b.wav").mkdir()
    for path, size, words in [
        ("a.wave", (44100, 2, 9), r"file suffix '\.wave'"),
        ("a.wav", (44100, 65, 9), "channels .* 1 to 64, got 65"),
        ("a.wav", (44100, 2, 0), "samples .*got 0"),
        ("a.wav", (0, 2, 9), "sample_rate .*got 0"),
        ("a.ogg", (384_000, 2, 9), "sample_rate .*200000, got 384000"),
    ]:
        with pytest.raises(InputError, match=words):
            AudioWriter(tmp_path / path, *size)
    with pytest.raises(InputError, match="FLAC subtype 'float32'"):
        AudioWriter(tmp_path / "a.flac", 44100, 2, 9, subtype="float32")
    with pytest.raises(InputError, match=r"dither_seed .*got -1"):
        AudioWriter(tmp_path / "a.wav", 44100, 2, 9, dither_seed=-1)
    with pytest.raises(AudioFileError, match=r"a\.wav: the folder"):
        AudioWriter(tmp_path / "missing" / "a.wav", 44100, 2, 9)
    with pytest.raises(AudioFileError, match=r"b\.wav is a folder"):
        AudioWriter(tmp_path / "b.wav", 44100, 2, 9)
    with (
        pytest.raises(AudioFileError, match="MP3 at 96000 Hz"),
        AudioWriter(tmp_path / "a.mp3", 96_000, 2, 9),
    ):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "b.wav"]
