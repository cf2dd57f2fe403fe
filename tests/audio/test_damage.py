"""Damaged files: what can be decoded is decoded and the rest is told, in any format."""

import random
import warnings

import av
import pytest
import soundfile as sf
import torch

from mssedu.audio.damage import Damage
from mssedu.audio.stream import read_blocks, scan
from mssedu.audio.tensors import audio_info, load_audio
from mssedu.errors import AudioFileError, MssEduError, MssEduWarning
from tests.audio.sounds import encode

RATE = 44100
SNDFILE = {"wav": "WAV", "aiff": "AIFF", "w64": "W64", "caf": "CAF", "au": "AU"}
SNDFILE |= {"rf64": "RF64", "flac": "FLAC", "ogg": "OGG"}
FFMPEG = {
    "mp3": "libmp3lame",
    "m4a": "aac",
    "mp4": "alac",
    "mka": "aac",
    "webm": "libopus",
    "opus": "libopus",
    "oga": "flac",
    "wma": "wmav2",
    "wv": "wavpack",
    "tta": "tta",
    "ac3": "ac3",
    "mp2": "mp2",
    "aac": "aac",
    "ts": "aac",
    "flv": "aac",
    "avi": "libmp3lame",
    "mov": "pcm_s16le",
    "nut": "aac",
}
KINDS = [*SNDFILE, *FFMPEG]


def tone(seconds=1.0, rate=RATE):
    t = torch.arange(round(seconds * rate)) / rate
    audio = torch.stack([(440 * 6.2832 * t).sin(), (550 * 6.2832 * t).sin()])
    return 0.3 * audio + 0.02 * torch.rand(2, len(t))


def write(path, audio, rate=RATE):
    """A whole file of the kind that the suffix says."""
    kind = path.suffix[1:]
    if kind in SNDFILE:
        sf.write(path, audio.T.numpy(), rate, format=SNDFILE[kind])
        return path
    if "opus" in FFMPEG[kind]:
        rate = 48000
    return encode(path, audio, codec=FFMPEG[kind], rate=rate)


def damaged(data, rng):
    """A copy with bytes that are flipped, zero, missing or too many."""
    data = bytearray(data)
    start, length = rng.randrange(len(data)), rng.choice([1, 8, 100, 3000])
    match rng.choice(["flip", "zero", "drop", "insert", "cut", "head"]):
        case "flip":
            for i in range(start, min(start + length, len(data))):
                data[i] ^= rng.randrange(256)
        case "zero":
            data[start : start + length] = bytes(len(data[start : start + length]))
        case "drop":
            del data[start : start + length]
        case "insert":
            data[start:start] = rng.randbytes(length)
        case "cut":
            del data[start:]
        case "head":
            for _ in range(3):
                data[rng.randrange(min(200, len(data)))] = rng.randrange(256)
    return bytes(data)


def check(path):
    """All readers agree on a file, or refuse it with an error of the package."""
    try:
        audio, rate = load_audio(path)
    except MssEduError:
        for read in (scan, lambda path: [*read_blocks(path)]):
            with pytest.raises(MssEduError):
                read(path)
        return False
    info, measured = audio_info(path), scan(path)
    assert (info.sample_rate, *audio.shape) == (rate, info.channels, info.samples)
    assert measured.samples == measured.total_samples == info.samples
    assert torch.equal(torch.cat([*read_blocks(path, length=999)], 1), audio)
    first = min(round(0.4 * rate), info.samples - 1)
    part, _ = load_audio(path, start_seconds=first / rate, duration_seconds=0.1)
    assert torch.equal(part, audio[:, first : first + round(0.1 * rate)])
    return True


# ---- any damage ---------------------------------------------------------------------


def fuzz(folder, kind, copies):
    path = write(folder / f"a.{kind}", tone(2.5 if kind == "opus" else 1.0))
    whole, rng, n_read = path.read_bytes(), random.Random(kind), 0
    for number in range(copies):
        path = folder / f"{number}.{kind}"
        path.write_bytes(damaged(whole, rng) or b"x")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MssEduWarning)
            n_read += check(path)
        path.unlink()
    return n_read


@pytest.mark.parametrize("kind", KINDS)
def test_damage_ends_in_sound_or_in_one_error(tmp_path, kind):
    assert fuzz(tmp_path, kind, 10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_much_damage_ends_in_sound_or_in_one_error(tmp_path, kind):
    assert fuzz(tmp_path, kind, 50)


TAG = b"title of the song, with words enough"


@pytest.mark.parametrize("kind", ["mp3", "flac", "m4a", "mka", "webm", "oga", "wma"])
def test_tags_may_hold_any_bytes(tmp_path, kind):
    path, rng = tmp_path / f"a.{kind}", random.Random(kind)
    tagged(path, FFMPEG.get(kind, "flac"))
    whole = path.read_bytes()
    assert TAG in whole or TAG.decode().encode("utf-16-le") in whole
    for _ in range(10):
        text = rng.randbytes(len(TAG))
        path.write_bytes(with_checksums(whole.replace(TAG, text)))
        assert check(path)


def tagged(path, codec):
    rate = 48000 if codec == "libopus" else RATE
    with av.open(str(path), "w") as container:
        container.metadata["title"] = TAG.decode()
        track = container.add_stream(codec, rate=rate, layout="stereo")
        track.bit_rate = 128_000
        track.metadata["title"] = TAG.decode()
        frame = av.AudioFrame.from_ndarray(tone().numpy(), "fltp", "stereo")
        frame.sample_rate, frame.pts = rate, 0
        container.mux(track.encode(frame))
        container.mux(track.encode(None))


def with_checksums(data):
    """The pages of an Ogg file with the checksums that fit; other files as they are."""
    if not data.startswith(b"OggS"):
        return data
    data, start = bytearray(data), 0
    while start < len(data):
        n = data[start + 26]
        end = start + 27 + n + sum(data[start + 27 : start + 27 + n])
        data[start + 22 : start + 26] = bytes(4)
        crc = 0
        for byte in data[start:end]:
            crc ^= byte << 24
            for _ in range(8):
                crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
        data[start + 22 : start + 26] = crc.to_bytes(4, "little")
        start = end
    return bytes(data)


# ---- a loss inside ------------------------------------------------------------------

CLICK = 2 * RATE


def clicking(seconds=2.5):
    audio = tone(seconds)
    audio[:, CLICK] = 0.95
    return audio


@pytest.mark.parametrize(
    "kind", ["flac", "ogg", "oga", "m4a", "mp4", "mka", "flv", "ts", "nut", "wv", "tta"]
)
@pytest.mark.parametrize("damage", ["zeros", "junk"])
def test_what_follows_a_loss_keeps_its_place(tmp_path, kind, damage):
    path = write(tmp_path / f"a.{kind}", clicking())
    whole, _ = load_audio(path)
    data = bytearray(path.read_bytes())
    place = 4 * len(data) // 10
    if kind == "mka":  # inside of a packet; behind a damaged header, all is lost
        with av.open(str(path)) as container:
            packets = container.demux(audio=0)
            place = next(p.pos for p in packets if p.pos > place) + 20
    data[place : place + 40] = bytes(40) if damage == "zeros" else b"\xa5" * 40
    path.write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        audio, _ = load_audio(path)
    assert audio.shape == whole.shape
    end = slice(CLICK - 10_000, None)
    assert audio[0, end].abs().argmax() == whole[0, end].abs().argmax()
    if kind in ("flac", "ogg", "oga", "wv"):  # formats with checksums
        assert "the first at" in str(caught[0].message)
        assert (audio == 0).all(0).sum() > 1000
        assert scan(path).damage


@pytest.mark.parametrize("damage", ["joined", "zeros", "junk", "tag"])
def test_an_mp3_plays_on_behind_what_is_no_frame(tmp_path, damage):
    path = write(tmp_path / "a.mp3", tone(2.0))
    data = path.read_bytes()
    half = len(data) // 2
    tag = b"ID3\x04\0\0\0\0\x07\x76" + bytes(1014)
    path.write_bytes(
        {
            "joined": data + data,
            "zeros": data + bytes(5000),
            "junk": data[:half] + b"\xaa" * 3000 + data[half:],
            "tag": data[:half] + tag + data[half:],
        }[damage]
    )
    with pytest.warns(MssEduWarning, match=r"a\.mp3: .* packets cannot be") as told:
        audio, _ = load_audio(path)
    assert "its header says" not in str(told[0].message)
    seconds = audio.shape[1] / RATE
    assert abs(seconds - (4 if damage == "joined" else 2)) < 0.1


@pytest.mark.parametrize("kind", ["flac", "mp4", "m4a"])
def test_a_file_with_little_sound_is_refused(tmp_path, kind):
    path = write(tmp_path / f"a.{kind}", tone(2.0))
    data, rng = bytearray(path.read_bytes()), random.Random(0)
    step = 9000 if kind == "flac" else 100
    for start in range(len(data) // 5, len(data) - 4000, step):
        data[start : start + 20] = rng.randbytes(20)
    path.write_bytes(data)
    for read in (load_audio, scan):
        with pytest.raises(AudioFileError, match="more than half of it is damaged"):
            read(path)


# ---- the end is missing -------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_read_as_far_as_it_goes(tmp_path, kind):
    path = write(tmp_path / f"a.{kind}", clicking())
    if kind in ("m4a", "mp4", "mov"):  # else the index is at the end, and cut off
        path.unlink()
        encode(path, clicking(), codec=FFMPEG[kind], movflags="faststart")
    whole, rate = load_audio(path)
    data = path.read_bytes()
    path.write_bytes(data[: 7 * len(data) // 10])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        audio, _ = load_audio(path)
        info = audio_info(path)
        part, _ = load_audio(path, start_seconds=0.5, duration_seconds=0.25)
    seconds = audio.shape[1] / rate
    length = whole.shape[1] / rate
    assert 0.35 < seconds / length < 0.75
    assert info.samples == audio.shape[1]
    first = round(0.5 * rate)
    assert part.equal(audio[:, first : first + round(0.25 * rate)])
    # The last packet, which is cut, may differ.
    sure = audio.shape[1] - 30_000
    # Two decoders round differently.
    assert (audio[:, :sure] - whole[:, :sure]).abs().max() < 1e-4
    text = str(caught[0].message) if caught else ""
    if kind in ("ogg", "opus", "oga"):
        assert f"it breaks off after {seconds:.3f} s" in text
    elif kind not in ("ac3", "mp2", "aac", "ts", "avi", "nut"):  # without a length
        assert f"it ends after {seconds:.3f} s, and its header says" in text
        assert str(caught[-1].message)  # audio_info warns too


# ---- another format on the way ------------------------------------------------------


def joined(folder, *parts):
    """A .aac file of several (audio, sample rate), one after the other."""
    data = b""
    for audio, rate in parts:
        data += encode(folder / "part.aac", audio, rate=rate).read_bytes()
    path = folder / "joined.aac"
    path.write_bytes(data)
    return path


def kilohertz(rate, channels=2):
    t = torch.arange(3 * rate) / rate
    return 0.3 * (1000 * 6.283185 * t).sin().expand(channels, -1)


def pitch(audio, rate):
    window = torch.hann_window(audio.shape[-1])
    peak = int(torch.fft.rfft(audio[0] * window).abs().argmax())
    return peak * rate / audio.shape[-1]


@pytest.mark.parametrize(("old", "new"), [(44100, 48000), (48000, 22050)])
def test_a_change_of_the_rate_keeps_the_pitch(tmp_path, old, new):
    path = joined(tmp_path, (kilohertz(old), old), (kilohertz(new), new))
    text = rf"changes at 3\.0.. s from {old} Hz, 2 channels, to {new} Hz, 2 channels"
    with pytest.warns(MssEduWarning, match=text):
        audio, rate = load_audio(path)
    assert rate == old
    assert abs(audio.shape[1] / rate - 6.08) < 0.03
    for half in (audio[:, 20_000:80_000], audio[:, -80_000:-20_000]):
        assert abs(pitch(half, rate) - 1000) < 2
        assert abs(half.std() - 0.3 / 2**0.5) < 0.01
    with pytest.warns(MssEduWarning, match="converted to the first"):
        assert audio_info(path).samples == audio.shape[1]


@pytest.mark.parametrize(("old", "new"), [(2, 1), (1, 2), (6, 2), (2, 6)])
def test_a_change_of_the_channels_is_mixed(tmp_path, old, new):
    parts = [(kilohertz(44100, channels), 44100) for channels in (old, new)]
    path = joined(tmp_path, *parts)
    with pytest.warns(MssEduWarning, match=f"{old} channels, to 44100 Hz, {new} chan"):
        audio, rate = load_audio(path)
    assert len(audio) == old
    end = audio[:, -80_000:-20_000]
    assert abs(pitch(end, rate) - 1000) < 2
    assert 0.1 < end[0].std() < 0.6


def test_a_format_that_goes_to_and_fro_is_counted(tmp_path):
    stereo, mono = (kilohertz(44100, 2), 44100), (kilohertz(44100, 1), 44100)
    path = joined(tmp_path, stereo, mono, stereo, mono)
    with pytest.warns(MssEduWarning, match=r"changes 2 times, first at 3\.0"):
        assert load_audio(path)[0].shape[0] == 2


# ---- the words ----------------------------------------------------------------------


def test_notes_count_what_is_lost():
    assert Damage().notes(44100) == ()
    damage = Damage(n_packets=9)
    damage.lose(0.5)
    damage.lose(0.7, 4410)
    (note,) = damage.notes(44100)
    assert note == (
        "1 of 9 packets cannot be decoded and silence replaces 0.100 s that are lost, "
        "the first at 0.500 s"
    )
