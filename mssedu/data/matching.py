"""Which songs fit together: tempo and key, so that a remix sounds like music.

    track ──librosa──▶ Music: tempo, key, beats ──songs_fit──▶ partners for remixing

Stems of random songs make many mixtures, but no music: beats and keys clash. `Music`
says which songs share both, and where a stem can begin so that the beats meet. Nothing
is stretched or transposed. Tempo and key are estimates: half or double the tempo, and
the key a fifth away, are frequent mistakes, which hardly matter here.

Source of the idea: Rouard, Massa, Défossez 2023, "Hybrid transformers for music source
separation"; their program `automix` stretches and transposes, too. Notebook: 05.
"""

import json
import math
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from mssedu.audio.disk import cache_folder
from mssedu.audio.files import misfit, write_json
from mssedu.audio.tensors import resample
from mssedu.data.track import Track, track_sha256
from mssedu.errors import check_range

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
ANALYSIS_RATE = 22050  # Hz, that librosa's defaults are made for
SHORTEST = 2.0  # seconds; below it there is nothing to measure
VERSION = 1  # of the analysis
_FORM = {"tempo": float, "key": (str, None), "beats": [float]}

# How well each of twelve notes fits a key, from its tonic on.
# Source: Krumhansl and Kessler 1982, "Tracing the dynamic changes in perceived tonal
# organization in a spatial representation of musical keys".
# fmt: off
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
# fmt: on


@dataclass(frozen=True)
class Music:
    """Estimates of what decides whether songs can sound together."""

    tempo: float  # beats per minute; 0: no beat was found
    key: str | None  # such as "A minor"; None: no notes, or the song is too short
    beats: tuple[float, ...] = ()  # seconds

    @property
    def fifths(self) -> int | None:
        """Position on the circle of fifths, 0 … 11; a minor key is with its relative.

        Example:
            >>> Music(120, "C major").fifths, Music(120, "E minor").fifths
            (0, 1)
        """
        if self.key is None:
            return None
        note, mode = self.key.split()
        return 7 * (NOTES.index(note) + 3 * (mode == "minor")) % 12


def songs_fit(one: Music, other: Music, tolerance: float = 0.04) -> bool:
    """Whether tempo and key of two songs match.

    The tempo may be the double or the half. Keys match if they are the same, relative,
    or neighbors on the circle of fifths: then they share six of seven notes.

    Args:
        tolerance: largest difference of the tempos, as a share, 0 … 0.3; with 0.04,
            the beats are half a beat apart after 12 beats.

    Raises:
        InputError: tolerance is out of range.

    Example:
        >>> song = Music(120, "C major")
        >>> [songs_fit(song, Music(61, key)) for key in ("A minor", "B major")]
        [True, False]
    """
    check_range("tolerance", tolerance, 0, 0.3)
    if not (one.tempo and other.tempo) or one.fifths is None or other.fifths is None:
        return False
    apart = abs(one.fifths - other.fifths)
    octaves = abs(math.log2(one.tempo / other.tempo))  # 1: the double or the half
    nearest = min(octaves, abs(octaves - 1))
    return min(apart, 12 - apart) <= 1 and nearest <= math.log2(1 + tolerance)


def analyze_music(track: Track) -> Music:
    """Estimate tempo, beats and key of a song from its mixture.

    This takes a few seconds a song. The result is stored in the folder for caches, by
    the content of the song.

    Raises:
        AudioFileError, InputError: the mixture cannot be read.
    """
    path = cache_folder() / "music" / f"{track_sha256(track)}.json"
    made_by = [VERSION, version("librosa")]
    with suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads(path.read_text("utf-8"))
        if document["made_by"] == made_by and not misfit(document["music"], _FORM):
            stored = document["music"]
            return Music(stored["tempo"], stored["key"], tuple(stored["beats"]))
    music = _measured(track)
    with suppress(OSError):  # a folder without the right to write, or a full disk
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"made_by": made_by, "music": asdict(music)})
    return music


def _measured(track: Track) -> Music:
    import librosa

    mono = track.mixture().mean(0, keepdim=True)
    if track.duration < SHORTEST or not mono.any():
        return Music(0.0, None)
    audio = resample(mono, track.sample_rate, ANALYSIS_RATE)[0].numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a sound in which nothing has a pitch
        _, beats = librosa.beat.beat_track(y=audio, sr=ANALYSIS_RATE, units="time")
        chroma = librosa.feature.chroma_cqt(y=audio, sr=ANALYSIS_RATE).mean(1)
    tempo = 0.0
    if len(beats) > 1:  # more exact than librosa's own tempo, which is a whole lag
        tempo = 60 * (len(beats) - 1) / float(beats[-1] - beats[0])
    return Music(tempo, _key(chroma), tuple(float(beat) for beat in beats))


def _key(chroma: NDArray[np.floating]) -> str | None:
    """The key whose profile is most like the mean energy of the twelve notes."""
    if np.ptp(chroma) == 0:
        return None
    fit = {
        f"{note} {mode}": float(np.corrcoef(np.roll(profile, tonic), chroma)[0, 1])
        for tonic, note in enumerate(NOTES)
        for mode, profile in (("major", _MAJOR), ("minor", _MINOR))
    }
    return max(fit, key=lambda key: fit[key])
