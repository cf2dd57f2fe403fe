"""Find the same recording in two songs: louder, cut, encoded again or transposed.

    audio ──▶ spectrogram, 24 bins per octave ──▶ peaks ──▶ pairs of peaks: `Landmarks`
    two sets of landmarks ──▶ equal pairs at one distance in time and pitch: `Match`

A peak is louder than all that is near it in time and pitch. A pair of peaks is a
landmark: the pitch of the first, the interval and the time to the second. Gain changes
no landmark, an encoder moves few of the loudest peaks, and a piece of a song holds the
landmarks of this piece. Two different songs share landmarks by chance, but not at one
distance in time. A transposed copy shares them at one distance in time and in pitch.

Source: Wang 2003, "An industrial-strength audio search algorithm". The logarithmic
pitch, for transposed copies, follows Fenet, Richard, Grenier 2011, "A scalable audio
fingerprint method with robustness to pitch-shifting". Notebook: 05.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

RATE = 11025  # Hz; so a copy at another sample rate has the same landmarks
_LENGTH, _HOP = 2048, 256  # samples of the spectrogram at this rate: 186 and 23 ms
_LOW_HZ, _PER_OCTAVE, _BINS = 200.0, 24, 108  # 200 Hz to 4400 Hz
_NEAR_FRAMES, _NEAR_BINS = (
    10,
    6,
)  # a peak is the maximum within ±0.23 s and ±3 semitones
_FLOOR_DB = 60.0  # fainter than the loudest peak of the song: no peak
_NEXT = 10  # a peak is paired with this many of the peaks that follow, at most
_ZONE_FRAMES, _ZONE_BINS = 63, 48  # the second peak is within 1.5 s and 2 octaves

TRANSPOSED = range(-6, 7)  # semitones
_PER_SECOND = RATE / _HOP  # frames
# Different songs share at most 4 of 100 landmarks at one distance, and never in several
# seconds (7021 pairs of MUSDB18 songs); a copy as MP3 of 64 kbit/s shares 35 or more.
_SHARE, _LEAST = 0.08, 4  # of the landmarks of a second, for it to be shared
_SECONDS = 3  # shared seconds of a match, at least


@dataclass(frozen=True)
class Landmarks:
    """The landmarks of a sound, sorted by time."""

    keys: NDArray[np.int32]  # pitch, interval and time difference of each pair of peaks
    frames: NDArray[np.int32]  # time of the first peak of each pair
    seconds: float  # length of the sound


@dataclass(frozen=True)
class Match:
    """The same recording in two sounds, `first` and `second` of a list."""

    first: int
    second: int
    shared_seconds: float  # of the sound that shares the larger part
    share: float  # `shared_seconds` as a part of this sound, 0 to 1
    offset_seconds: float  # second 0 of `first` is this second of `second`
    semitones: int  # `second` is higher by


def landmarks(blocks: Iterable[NDArray[Any]], sample_rate: int) -> Landmarks:
    """The landmarks of a mono sound that comes in blocks of shape (samples,).

    Args:
        blocks: of one length or of several.
        sample_rate: Hz.

    Example:
        >>> noise = torch.randn(3 * 44100).numpy()
        >>> found = landmarks([noise], 44100)
        >>> found.seconds, len(found.keys) > 100
        (3.0, True)
        >>> [match.share for match in matches([found, landmarks([noise / 9], 44100)])]
        [1.0]
    """
    listener = Listener(sample_rate)
    for block in blocks:
        listener.add(block)
    return listener.landmarks()


class Listener:
    """Find the landmarks of a mono sound of a rate in Hz that is given in blocks."""

    def __init__(self, sample_rate: int) -> None:
        self._stream = soxr.ResampleStream(
            sample_rate, RATE, 1, dtype="float32", quality="LQ"
        )
        self._pieces: list[NDArray[np.float32]] = []

    def add(self, block: NDArray[Any]) -> None:
        """Append a block (samples,)."""
        self._pieces.append(self._stream.resample_chunk(np.float32(block)))

    def landmarks(self) -> Landmarks:
        """The landmarks of all blocks; no block can be added after that."""
        end = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        sound = np.concatenate([*self._pieces, end])
        return _landmarks(sound)


def _landmarks(sound: NDArray[np.float32]) -> Landmarks:
    frames, bins = _peaks(_spectrogram(sound))
    keys, times = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for following in range(1, _NEXT + 1):
        time = frames[following:] - frames[:-following]
        interval = bins[following:] - bins[:-following]
        near = (time > 0) & (time <= _ZONE_FRAMES) & (abs(interval) <= _ZONE_BINS)
        first = bins[:-following][near]
        keys.append(_key(first, interval[near], time[near]))
        times.append(frames[:-following][near])
    order = np.argsort(np.concatenate(times), kind="stable")
    return Landmarks(
        np.concatenate(keys)[order].astype(np.int32),
        np.concatenate(times)[order].astype(np.int32),
        len(sound) / RATE,
    )


def _key(first: Any, interval: Any, time: Any) -> Any:
    """One number for a pair of peaks; a semitone higher is `_SEMITONE` more."""
    return (first << 13) | ((interval + 64) << 6) | time


_SEMITONE = (_PER_OCTAVE // 12) << 13


def _spectrogram(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitude in dB, (frames, bins); the bins are equally spaced in pitch."""
    sound = np.pad(sound, (0, max(_LENGTH - len(sound), 0)))
    window = np.hanning(_LENGTH).astype(np.float32)
    centers = _LOW_HZ * 2 ** (np.arange(_BINS) / _PER_OCTAVE) * _LENGTH / RATE
    below = centers.astype(int)
    part = (centers - below).astype(np.float32)
    views = np.lib.stride_tricks.sliding_window_view(sound, _LENGTH)[::_HOP]
    rows = []
    for start in range(0, len(views), 1024):  # so that long songs need little memory
        magnitude = abs(np.fft.rfft(views[start : start + 1024] * window))
        rows.append(magnitude[:, below] * (1 - part) + magnitude[:, below + 1] * part)
    return 20 * np.log10(np.concatenate(rows) + 1e-9).astype(np.float32)


def _peaks(level: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Frames and bins of the peaks, sorted by frame."""
    size = (2 * _NEAR_FRAMES + 1, 2 * _NEAR_BINS + 1)
    is_peak = level == maximum_filter(level, size)
    is_peak &= level > max(level.max() - _FLOOR_DB, -100)  # zeros have no peaks
    is_peak[:, [0, -1]] = False
    frames, bins = np.nonzero(is_peak)
    return frames, bins


# ---- comparison ---------------------------------------------------------------------


def matches(
    sounds: Sequence[Landmarks], *, semitones: Iterable[int] = TRANSPOSED
) -> Iterator[Match]:
    """All pairs of sounds that share a recording, each pair once with its best match.

    A pair matches if it shares 3 seconds or more (of short sounds: half of the shorter
    one) at one distance in time and pitch. The time grows with the number of landmarks
    that are equal by chance: 150 songs of 4 minutes take about a minute.

    Args:
        sounds: the landmarks of each sound.
        semitones: the transpositions to look for.
    """
    if not sounds:
        return
    owner = np.repeat(np.arange(len(sounds)), [len(s.keys) for s in sounds])
    keys = np.concatenate([s.keys for s in sounds])
    order = np.argsort(keys, kind="stable")
    keys, owner = keys[order], owner[order]
    frames = np.concatenate([s.frames for s in sounds])[order]
    for first, sound in enumerate(sounds):
        best: dict[int, Match] = {}
        for semitone in semitones:
            wanted = sound.keys + semitone * _SEMITONE
            low = np.searchsorted(keys, wanted, "left")
            count = np.searchsorted(keys, wanted, "right") - low
            mine = np.repeat(np.arange(len(wanted)), count)
            found = np.arange(len(mine)) + np.repeat(
                low - count.cumsum() + count, count
            )
            later = owner[found] > first
            mine, found = mine[later], found[later]
            times = sound.frames[mine]
            for second, offset, at in _aligned(owner[found], times, frames[found]):
                pair = (sound, sounds[second])
                match = _match(first, second, pair, at, offset, semitone)
                if match and match.share > getattr(best.get(second), "share", 0):
                    best[second] = match
        yield from best.values()


def _aligned(
    owner: NDArray[Any], mine: NDArray[Any], theirs: NDArray[Any]
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """For each other sound: its number, the most frequent distance, times at it."""
    order = np.argsort(owner, kind="stable")
    owner, mine, theirs = owner[order], mine[order], theirs[order]
    for second, start, size in zip(
        *np.unique(owner, return_index=True, return_counts=True), strict=True
    ):
        if size < _LEAST:
            continue
        end = start + size
        distance = theirs[start:end] - mine[start:end]
        lowest = distance.min()
        counts = np.bincount(distance - lowest)
        # A copy is rarely late by whole frames, so that its landmarks are divided
        # between neighboring distances.
        counts = np.convolve(counts, [1, 2, 1], "same")
        offset = int(counts.argmax() + lowest)
        yield int(second), offset, mine[start:end][abs(distance - offset) <= 1]


def _match(
    first: int,
    second: int,
    pair: tuple[Landmarks, Landmarks],
    times: NDArray[Any],
    offset: int,
    semitones: int,
) -> Match | None:
    """The match of two sounds from the times in `first` of their common landmarks."""
    shared, share = 0.0, 0.0
    for sound, at in zip(pair, (times, times + offset), strict=True):
        size = max(round(sound.seconds), 1)
        edges = np.linspace(0, sound.seconds * _PER_SECOND, size + 1)
        common = np.histogram(at, edges)[0]
        total = np.histogram(sound.frames, edges)[0]
        n_shared = int((common >= np.maximum(_SHARE * total, _LEAST)).sum())
        least = min(_SECONDS, (size + 1) // 2)
        seconds = min(n_shared / size, 1.0) * sound.seconds
        if n_shared >= least and n_shared / size > share:
            shared, share = seconds, n_shared / size
    if not share:
        return None
    return Match(first, second, shared, share, offset / _PER_SECOND, semitones)
