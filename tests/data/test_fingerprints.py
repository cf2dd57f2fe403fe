"""Fingerprints: a changed copy of a song is found, and another song is not."""

import io

import av
import numpy as np
import pytest
import soxr
import torch

from mssedu.data.doctor.fingerprints import Listener, landmarks, matches
from mssedu.data.loading import demo_data, load_dataset

RATE = 44100
SECONDS = 24.0  # of each song
FROM, TO = 9 * RATE + 1234, 20 * RATE  # a cut that begins within a frame


@pytest.fixture(scope="module")
def songs():
    """The mixtures of the demo songs as mono arrays."""
    tracks = load_dataset(demo_data())
    return {track.name: track.mixture(0, SECONDS).mean(0).numpy() for track in tracks}


@pytest.fixture(scope="module")
def known(songs):
    return [landmarks([sound], RATE) for sound in songs.values()]


def mp3(sound, kbit):
    """A sound after MP3 with a constant bitrate, without the encoder's delay."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=RATE, layout="mono")
        stream.bit_rate = kbit * 1000
        frame = av.AudioFrame.from_ndarray(np.float32(sound[None]), "fltp", "mono")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    file.seek(0)
    with av.open(file) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(frames)


def played_higher(sound, semitones):
    """A sound that is transposed and keeps its tempo, by a phase vocoder."""
    import librosa

    return librosa.effects.pitch_shift(sound, sr=RATE, n_steps=semitones)


COPIES = {
    "-9 dB": lambda sound: sound * 10 ** (-9 / 20),
    "inverted": lambda sound: -sound,
    "cut": lambda sound: sound[FROM:TO],
    "mp3": lambda sound: mp3(sound, 64),
    "mp3, cut, -9 dB": lambda sound: 0.35 * mp3(sound, 64)[FROM:TO],
    "16 kHz": lambda sound: soxr.resample(
        soxr.resample(sound, RATE, 16000), 16000, RATE
    ),
    "noise": lambda s: s + 0.01 * np.random.default_rng(0).standard_normal(len(s)),
}


def found_by(known, sound, rate=RATE):
    """The matches of a sound with the known ones."""
    sounds = [*known, landmarks([sound], rate)]
    return [match for match in matches(sounds) if match.second == len(known)]


@pytest.mark.parametrize("change", COPIES)
def test_a_changed_copy_is_found(change, songs, known):
    copy = COPIES[change](songs["Potassium"])
    (match,) = found_by(known, copy)
    assert (match.first, match.semitones) == ([*songs].index("Potassium"), 0)
    assert match.share > 0.8
    assert match.shared_seconds == pytest.approx(len(copy) / RATE, rel=0.2)
    start = FROM / RATE if "cut" in change else 0
    assert match.offset_seconds == pytest.approx(-start, abs=0.05)


def test_a_copy_at_another_sample_rate_is_found(songs, known):
    (match,) = found_by(known, soxr.resample(songs["Sodium"], RATE, 48000), 48000)
    assert match.first == [*songs].index("Sodium")
    assert match.share == 1.0


@pytest.mark.parametrize("semitones", [-3, 2])
def test_a_transposed_copy_is_found(semitones, songs, known):
    copy = played_higher(songs["Sodium"][: 12 * RATE], semitones)
    (match,) = found_by(known, copy)
    assert match.first == [*songs].index("Sodium")
    assert match.semitones == semitones


def test_a_loop_of_one_song_in_another_is_a_small_share(songs, known):
    loop = songs["Sodium"][10 * RATE : 16 * RATE]
    middle = 20 * RATE
    host = np.random.default_rng(0).standard_normal(2 * middle) * 0.1
    (match,) = found_by(known, np.concatenate([host[:middle], loop, host[middle:]]))
    assert match.first == [*songs].index("Sodium")
    assert match.shared_seconds == pytest.approx(6, abs=1)
    assert match.share < 0.3
    assert match.offset_seconds == pytest.approx(10, abs=0.05)


def test_different_songs_and_their_stems_do_not_match(known):
    assert not [*matches(known)]
    for stem in ("vocals", "drums", "bass", "other"):
        sounds = [
            landmarks(
                [track.stem(stem, 0, SECONDS / 2).mean(0).numpy()], track.sample_rate
            )
            for track in load_dataset(demo_data())
        ]
        assert not [*matches(sounds, semitones=(0,))]


def test_silence_and_an_empty_list_match_nothing():
    silence = landmarks([np.zeros(5 * RATE)], RATE)
    assert not len(silence.keys)
    assert silence.seconds == 5
    assert not [*matches([silence, silence])]
    assert not [*matches([])]


def test_blocks_of_any_length_give_the_same_landmarks(songs):
    sound = songs["Francium"][: 8 * RATE]
    whole, listener = landmarks([sound], RATE), Listener(RATE)
    for block in np.array_split(sound, 17):
        listener.add(block)
    pieces = listener.landmarks()
    np.testing.assert_array_equal(pieces.keys, whole.keys)
    np.testing.assert_array_equal(pieces.frames, whole.frames)


def test_a_very_short_sound_has_landmarks_or_none():
    noise = torch.randn(RATE // 2).numpy()
    short = [landmarks([noise[:100]], RATE), landmarks([noise], RATE)]
    assert short[1].seconds == pytest.approx(0.5, abs=0.01)
    assert not [*matches(short)]
