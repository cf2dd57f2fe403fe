"""Tempo, key and beats of songs that are made for it, and which songs fit."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mssedu.data import matching
from mssedu.data.matching import NOTES, Music, analyze_music, songs_fit
from mssedu.data.track import Track
from mssedu.errors import InputError

RATE = 22050  # Hz
KEYS = [f"{note} {mode}" for note in NOTES for mode in ("major", "minor")]
CHORDS = {
    "C major": ((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)),  # C F G C
    "A minor": ((9, 12, 16), (2, 5, 9), (4, 8, 11), (9, 12, 16)),  # Am Dm E Am
}


def song(bpm: float, key: str, up: int = 0, seconds: float = 16.0) -> Track:
    """A click on each beat and a chord for four of them, `up` semitones higher."""
    time = torch.arange(round(seconds * RATE)) / RATE
    beat = 60 / bpm
    generator = torch.Generator().manual_seed(0)
    click = 0.5 * torch.randn(600, generator=generator)
    click *= torch.linspace(1, 0, 600).square()
    drums, other = torch.zeros(len(time)), torch.zeros(len(time))
    for number in range(int(seconds / beat)):
        first = round(number * beat * RATE)
        piece = drums[first : first + 600]
        piece += click[: len(piece)]
    for place, chord in enumerate(CHORDS[key] * 99):
        inside = (time >= 4 * place * beat) & (time < 4 * (place + 1) * beat)
        if not inside.any():
            break
        for note in chord:
            hertz = 261.63 * 2 ** ((note + up) / 12)
            other += 0.1 * inside * (2 * math.pi * hertz * time).sin()
    parts = {"drums": drums[None], "other": other[None]}
    return Track.from_audio(f"{key} {bpm}", parts, RATE)


@pytest.mark.parametrize(
    ("bpm", "key", "up", "expected"),
    [(120, "C major", 0, "C major"), (90, "A minor", 3, "C minor")],
)
def test_tempo_beats_and_key_of_a_made_song(bpm, key, up, expected) -> None:
    music = analyze_music(song(bpm, key, up))
    assert any(music.tempo * f == pytest.approx(bpm, rel=0.02) for f in (0.5, 1, 2))
    assert music.key == expected
    beat = 60 / bpm
    off = [abs(t / beat - round(t / beat)) * beat for t in music.beats]
    assert sorted(off)[len(off) // 2] < 0.04  # seconds


def test_songs_without_music() -> None:
    silent = Track.from_audio("silent", {"a": torch.zeros(1, 5 * RATE)}, RATE)
    short = Track.from_audio("short", {"a": torch.rand(1, 100)}, RATE)
    assert analyze_music(silent) == analyze_music(short) == Music(0.0, None)
    steady = Track.from_audio("steady", {"a": torch.ones(1, 5 * RATE)}, RATE)
    assert not songs_fit(analyze_music(steady), Music(120, "C major"))


def test_the_analysis_is_stored(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MSSEDU_CACHE", str(tmp_path))
    track = Track.from_audio("a", {"a": torch.ones(1, 100)}, RATE)
    n_measured = []
    made = Music(101.5, "D# minor", (0.25, 0.75))
    monkeypatch.setattr(
        matching, "_measured", lambda track: n_measured.append(1) or made
    )
    assert analyze_music(track) == made
    assert analyze_music(track) == made
    assert len(n_measured) == 1
    other = Track.from_audio("a", {"a": torch.zeros(1, 100)}, RATE)
    analyze_music(other)
    assert len(n_measured) == 2  # another content
    (one, _) = sorted((tmp_path / "music").iterdir())
    for damage in ("", "[]", json.dumps({"made_by": [0, "1"], "music": {}})):
        for file in (tmp_path / "music").iterdir():
            file.write_text(damage, "utf-8")
        assert analyze_music(track) == made
    assert len(n_measured) == 5
    assert one.suffix == ".json"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch) -> None:
    (tmp_path / "music").write_text("a file, where a folder should be", "utf-8")
    monkeypatch.setenv("MSSEDU_CACHE", str(tmp_path))
    track = Track.from_audio("a", {"a": torch.ones(1, 100)}, RATE)
    assert analyze_music(track) == Music(0.0, None)


def test_the_circle_of_fifths() -> None:
    majors = ["C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#", "A#", "F"]
    minors = majors[3:] + majors[:3]
    for place, (major, minor) in enumerate(zip(majors, minors, strict=True)):
        assert Music(1, f"{major} major").fifths == place
        assert Music(1, f"{minor} minor").fifths == place
    assert Music(0, None).fifths is None


@pytest.mark.parametrize(
    ("tempo", "key", "fit"),
    [
        (120, "C major", True),
        (124.7, "C major", True),
        (126, "C major", False),
        (115, "C major", False),
        (240, "G major", True),
        (61, "D minor", True),  # F major's relative
        (120, "D major", False),
        (120, "F# major", False),
        (0, "C major", False),
        (120, None, False),
    ],
)
def test_which_songs_fit(tempo, key, fit) -> None:
    one, other = Music(120, "C major"), Music(tempo, key)
    assert songs_fit(one, other) is songs_fit(other, one) is fit


@given(
    st.sampled_from(KEYS), st.sampled_from(KEYS), st.floats(40, 240), st.floats(40, 240)
)
def test_to_fit_is_mutual(key, other_key, tempo, other_tempo) -> None:
    one, other = Music(tempo, key), Music(other_tempo, other_key)
    assert songs_fit(one, one)
    assert songs_fit(one, other) == songs_fit(other, one)


def test_tolerance_out_of_range() -> None:
    with pytest.raises(InputError, match=r"tolerance must be from 0 to 0.3"):
        songs_fit(Music(1, "C major"), Music(1, "C major"), 0.5)
