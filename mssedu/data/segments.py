"""Random training segments: an endless supply of new mixtures from a few songs.

    seed, item ──▶ generator ──▶ track and position of each part ──▶ read
               ──▶ gain, channel flip, sign flip ──▶ sources (parts, channels, samples)

    parts: the stems that are asked for, then all else that the mixtures hold

The sum of the parts is a whole mixture, whichever stems are asked for: a model that
estimates the vocals must hear the band. A part that the drawn song has not is silent.
Item i depends on (seed, i) and on nothing else: not on the order of reading, the
number of workers or what was read before. So a run resumes at any item, and two
machines agree. Give it tracks `in_memory()` where they fit: compressed files are
decoded from their start for each read. Notebook: 05.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mssedu.data.augment import flip_channels, flip_sign, random_gain, random_silence
from mssedu.data.track import REST, Track, is_source
from mssedu.errors import InputError, check_range, message

SILENT_DB = -80.0  # RMS over a song: what lies below is noise, not an instrument


class RandomSegments(Dataset[Tensor]):
    """Map-style data set of n_items random segments; plain state, so it pickles.

    Args:
        tracks: all with these stems, of one format; drawn in proportion to duration.
        stems: the first parts of an item, in order, as in `mssedu.models.stems`.
        segment: seconds of an item; a shorter track is followed by zeros.
        n_items: items of one pass; batch size times steps for a whole training run.
        seed: any whole number ≥ 0; another seed gives other items.
        remix: draw track and position of each stem independently; else together.
        level_db: RMS, dB relative to full scale, that each part of each song is brought
            to first; a loud bass in few songs then does not teach that all is bass.
        gain_db: smallest and largest random gain of a stem, dB; none if None.
        channel_flip: probability that a stem's channels swap.
        sign_flip: probability that a stem's sign changes.
        silence: probability that a stem is silent, as it often is in real songs.
        min_active_db: draw again, at most `MAX_DRAWS` times, while a stem's RMS lies
            below this level, dB relative to full scale.

    Raises:
        InputError: no tracks, an unknown stem, differing formats, a value out of range.
    """

    MAX_DRAWS = 10  # some songs have no bass at all; each draw costs one read

    def __init__(
        self,
        tracks: Sequence[Track],
        stems: Sequence[str],
        segment: float,
        n_items: int,
        *,
        seed: int,
        remix: bool = True,
        level_db: float | None = None,
        gain_db: tuple[float, float] | None = (-10.0, 6.0),
        channel_flip: float = 0.5,
        sign_flip: float = 0.5,
        silence: float = 0.0,
        min_active_db: float | None = None,
    ):
        _check_tracks(tracks, stems)
        self.tracks = tuple(track.with_stems(stems) for track in tracks)
        self.stems = self.tracks[0].stems
        self.parts = (*self.stems, *_all_unselected(self.tracks))
        check_range("n_items", n_items, 1)
        check_range("seed", seed, 0)
        check_range("channel_flip", channel_flip, 0, 1)
        check_range("sign_flip", sign_flip, 0, 1)
        check_range("silence", silence, 0, 1)
        self.sample_rate = tracks[0].sample_rate
        self.channels = tracks[0].channels
        check_range("segment", segment, 1 / self.sample_rate)
        if gain_db is not None:
            check_range("gain_db[1]", gain_db[1], gain_db[0])
        self.segment, self.n_items, self.seed = segment, n_items, seed
        self.remix, self.gain_db, self.min_active_db = remix, gain_db, min_active_db
        self.channel_flip, self.sign_flip = channel_flip, sign_flip
        self.silence = silence
        self.leveling: dict[tuple[int, str], float] = {}  # (track, stem) -> factor
        if level_db is not None:
            self.leveling = _leveling(self.tracks, level_db)

    def __len__(self) -> int:
        return self.n_items

    def __getitem__(self, item: int) -> Tensor:
        """Sources of one item, (parts, channels, samples); their sum is its mixture."""
        if not 0 <= item < self.n_items:  # ends `for sources in segments`
            remedy = "Raise n_items for a longer run."
            wanted = f"item 0 … {self.n_items - 1}"
            raise IndexError(message("RandomSegments", wanted, item, remedy))
        generator = item_generator(self.seed, item)
        if self.remix:
            sources = torch.cat([self._draw((p,), generator) for p in self.parts])
        else:
            sources = self._draw(self.parts, generator)
        if self.gain_db is not None:
            sources = random_gain(sources, *self.gain_db, generator=generator)
        sources = flip_channels(sources, self.channel_flip, generator=generator)
        sources = flip_sign(sources, self.sign_flip, generator=generator)
        return random_silence(sources, self.silence, generator=generator)

    def _draw(self, parts: tuple[str, ...], generator: torch.Generator) -> Tensor:
        """Parts of one track at one position, drawn until its stems are active."""
        n_stems = sum(part in self.stems for part in parts)
        for _ in range(self.MAX_DRAWS):
            sources = self._read(parts, generator)
            if self.min_active_db is None or not n_stems:
                break
            if _level_db(sources[:n_stems]) >= self.min_active_db:
                break
        return sources

    def _read(self, parts: tuple[str, ...], generator: torch.Generator) -> Tensor:
        """Parts of a random track from a random position, padded to the segment."""
        sizes = torch.tensor([track.n_samples for track in self.tracks]).double()
        choice = int(torch.multinomial(sizes, 1, generator=generator))
        track = self.tracks[choice]
        length = round(self.segment * self.sample_rate)
        starts = max(track.n_samples - length, 0) + 1
        first = int(torch.randint(starts, (1,), generator=generator))
        start, known = first / self.sample_rate, (*track.stems, *track.unselected)
        audio = torch.zeros(len(parts), self.channels, length)
        for row, part in zip(audio, parts, strict=True):
            if part in known:
                read = track.stem(part, start, self.segment)
                gain = self.leveling.get((choice, part), 1.0)
                torch.mul(read, gain, out=row[:, : read.shape[-1]])
        return audio


def describe_mixture(tracks: Sequence[Track]) -> str:
    """What the mixtures of tracks are made of, in a line.

    Example:
        >>> song = {"vocals": torch.ones(1, 9), "drums": torch.ones(1, 9)}
        >>> track = Track.from_audio("Test", song, 44100)
        >>> describe_mixture([track.with_stems(["vocals"])])
        'mixture: vocals + drums (not estimated)'
    """
    others = _all_unselected(tracks)
    parts = " + ".join(tracks[0].stems)
    return f"mixture: {parts}" + (
        f" + {', '.join(others)} (not estimated)" if others else ""
    )


def _all_unselected(tracks: Sequence[Track]) -> tuple[str, ...]:
    """What the mixtures hold beside the selected stems, the rest last."""
    names = dict.fromkeys(name for track in tracks for name in track.unselected)
    return tuple(sorted(names, key=lambda name: name == REST))


def item_generator(seed: int, item: int) -> torch.Generator:
    """Random generator of one item: a function of seed and item alone.

    NumPy's SeedSequence mixes the two numbers well, so neighbouring items and seeds
    are unrelated.

    Example:
        >>> a, b = item_generator(0, 7), item_generator(0, 7)
        >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
        True
    """
    state = np.random.SeedSequence((seed, item)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def _leveling(tracks: Sequence[Track], level_db: float) -> dict[tuple[int, str], float]:
    """Factor that brings each part of each song to the level.

    Silence stays silence, and what a codec changed stays as quiet as it is.
    """
    factors = {}
    for number, track in enumerate(tracks):
        for part in (*track.stems, *track.unselected):
            audio = track.stem(part)
            level = _level_db(audio[None])
            stays = level < SILENT_DB
            stays = stays or (part == REST and not is_source(audio, track.mixture()))
            factors[number, part] = 1.0 if stays else 10 ** ((level_db - level) / 20)
    return factors


def _level_db(sources: Tensor) -> float:
    """RMS of the quietest stem, dB relative to full scale."""
    power = sources.square().mean((-2, -1)).min()
    return float(10 * torch.log10(power))


def _check_tracks(tracks: Sequence[Track], stems: Sequence[str]) -> None:
    where = "RandomSegments"
    if not tracks or not stems:
        got = f"{len(tracks)} tracks and {len(stems)} stems"
        remedy = "Load some with mssedu.load_dataset."
        raise InputError(message(where, "at least one track and stem", got, remedy))
    formats = {(track.sample_rate, track.channels) for track in tracks}
    if len(formats) > 1:
        got = ", ".join(f"{rate} Hz × {n} channels" for rate, n in sorted(formats))
        remedy = "Convert the others with mssedu.audio.resample and match_channels."
        wanted = "tracks of one sample rate and channel count"
        raise InputError(message(where, wanted, got, remedy))
