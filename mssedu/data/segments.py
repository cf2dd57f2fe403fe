"""Random training segments: an endless supply of new mixtures from a few songs.

    seed, item ──▶ generator ──▶ track and position of each part ──▶ read
               ──▶ gain, channel flip, sign flip, silence
               ──▶ sources (parts, channels, samples)

    parts: the selected stems, then all other parts of the mixtures

The sum of the parts is a whole mixture, for every selection of stems: a model that
estimates the vocals needs the band in its input. A part that a song does not have is
silent.

Item i depends on (seed, i) only: not on the order of reading, on the number of workers
or on earlier items. So a run can resume at any item. Use tracks `in_memory()` if they
fit: compressed files are decoded from their beginning for each read. Notebook: 05.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mssedu.audio.tensors import is_source
from mssedu.data.augment import flip_channels, flip_sign, random_gain, random_silence
from mssedu.data.track import REST, Track
from mssedu.errors import InputError, check_range

SILENT_DB = -80.0  # RMS of a stem over a song; below this level it is only noise


@dataclass(eq=False, repr=False)
class RandomSegments(Dataset[Tensor]):
    """Map-style data set of n_items random segments, which can be pickled.

    Raises:
        InputError: no tracks, an unknown stem, different formats, or a value out of
            range.
    """

    tracks: Sequence[Track]  # of one format, chosen in proportion to their duration
    stems: Sequence[str]  # the first parts of an item, as in `mssedu.models.stems`
    segment: float  # length of an item, seconds; zeros follow a track that is shorter
    n_items: int  # of one pass: batch size times steps for a whole training run
    _: KW_ONLY
    seed: int  # any whole number ≥ 0; another seed gives other items
    remix: bool = True  # choose track and position for each stem independently
    # RMS, dB relative to full scale, to which each part of each song is brought first,
    # so that a model does not learn from a few songs that everything is bass
    level_db: float | None = None
    gain_db: tuple[float, float] | None = (-10.0, 6.0)  # limits of a stem's random gain
    channel_flip: float = 0.5  # probability that the channels of a stem are exchanged
    sign_flip: float = 0.5  # probability that a stem is multiplied by -1
    silence: float = 0.0  # probability that a stem is silent, as often in real songs
    # Choose again, at most `MAX_DRAWS` times, if the RMS of a stem is below this level,
    # dB relative to full scale.
    min_active_db: float | None = None

    MAX_DRAWS = 10  # some songs have no bass at all; each attempt costs one read

    def __post_init__(self) -> None:
        if not self.tracks or not self.stems:
            raise InputError(
                "at least one track and one stem are needed, got "
                f"{len(self.tracks)} tracks and {len(self.stems)} stems."
            )
        forms = sorted({(track.sample_rate, track.channels) for track in self.tracks})
        if len(forms) > 1:
            listed = ", ".join(f"{rate} Hz × {n} channels" for rate, n in forms)
            raise InputError(
                f"tracks differ in sample rate or number of channels: {listed}."
            )
        ((self.sample_rate, self.channels),) = forms
        self.tracks = tuple(track.with_stems(self.stems) for track in self.tracks)
        self.stems = self.tracks[0].stems
        self.parts = (*self.stems, *_all_unselected(self.tracks))
        check_range("n_items", self.n_items, 1)
        check_range("seed", self.seed, 0)
        for name in ("channel_flip", "sign_flip", "silence"):
            check_range(name, getattr(self, name), 0, 1)
        check_range("segment", self.segment, 1 / self.sample_rate)
        if self.gain_db is not None:
            check_range("gain_db[1]", self.gain_db[1], self.gain_db[0])
        self.leveling: dict[tuple[int, str], float] = {}  # (track, stem) -> factor
        if self.level_db is not None:
            self.leveling = _leveling(self.tracks, self.level_db)

    def __len__(self) -> int:
        return self.n_items

    def __getitem__(self, item: int) -> Tensor:
        """Sources of one item, (parts, channels, samples); their sum is its mixture."""
        if not 0 <= item < self.n_items:  # ends `for sources in segments`
            raise IndexError(f"item must be from 0 to {self.n_items - 1}, got {item}.")
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
        """Parts of a random track and position; the stems are active if possible."""
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
    """The parts of the mixtures of tracks, in one line.

    Example:
        >>> song = {"vocals": torch.ones(1, 9), "drums": torch.ones(1, 9)}
        >>> track = Track.from_audio("Test", song, 44100)
        >>> describe_mixture([track.with_stems(["vocals"])])
        'mixture: vocals + drums (not estimated)'
    """
    others = _all_unselected(tracks)
    more = f" + {', '.join(others)} (not estimated)" if others else ""
    return f"mixture: {' + '.join(tracks[0].stems)}{more}"


def _all_unselected(tracks: Sequence[Track]) -> tuple[str, ...]:
    """The parts of the mixtures beside the selected stems; the rest is the last one."""
    names = dict.fromkeys(name for track in tracks for name in track.unselected)
    return tuple(sorted(names, key=lambda name: name == REST))


def item_generator(seed: int, item: int) -> torch.Generator:
    """The random generator of one item, which depends on seed and item only.

    NumPy's SeedSequence mixes the two numbers well, so that the random numbers of
    neighboring items and seeds are independent.

    Example:
        >>> a, b = item_generator(0, 7), item_generator(0, 7)
        >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
        True
    """
    state = np.random.SeedSequence((seed, item)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def _leveling(tracks: Sequence[Track], level_db: float) -> dict[tuple[int, str], float]:
    """The factor that brings each part of each song to the level; 1 for silence."""
    factors = {}
    for number, track in enumerate(tracks):
        for part in (*track.stems, *track.unselected):
            audio = track.stem(part)
            level = _level_db(audio[None])
            # A rest may be only what a codec changed.
            from_codec = part == REST and not is_source(audio, track.mixture())
            keep = level < SILENT_DB or from_codec
            factors[number, part] = 1.0 if keep else 10 ** ((level_db - level) / 20)
    return factors


def _level_db(sources: Tensor) -> float:
    """RMS of the quietest stem, dB relative to full scale."""
    power = sources.square().mean((-2, -1)).min()
    return float(10 * torch.log10(power))
