"""Random training segments: an endless supply of new mixtures from a few songs.

    seed, item ──▶ generator ──▶ track and position of each part ──▶ read
               ──▶ gain, channel flip, sign flip, silence, effects
               ──▶ Segment: sources (parts, channels, samples), present (parts,)

    parts: the selected stems, then all other parts of the mixtures

The sum of the parts is a whole mixture, for every selection of stems: a model that
estimates the vocals needs the band in its input. A part that a song does not have is
zero in `sources` and False in `present`, so that no loss compares with it. The zeros
behind the end of a song that is shorter than the segment are compared: after the end
of a song, every stem is silent.

Item i depends on (seed, i) only: not on the order of reading, on the number of workers
or on earlier items. So a run can resume at any item. Use tracks `in_memory()` if they
fit, else `mssedu.data.cached`: compressed files are decoded from their beginning for
each read. Notebook: 05.
"""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from mssedu.audio.tensors import is_source
from mssedu.audio.words import counted, sound_form
from mssedu.data import Balance
from mssedu.data.augment import flip_channels, flip_sign, random_gain, random_silence
from mssedu.data.effects import EFFECTS, apply_effects, mixup
from mssedu.data.matching import analyze_music, songs_fit
from mssedu.data.playing import FASTEST
from mssedu.data.track import REST, Track
from mssedu.errors import InputError, check_name, check_range

SILENT_DB = -80.0  # RMS of a stem over a song; below this level it is only noise
MAX_WORKERS = 256  # beyond them, two workers may count in one place


class Segment(NamedTuple):
    """One item, or a batch of items with one more axis in front."""

    sources: Tensor  # (parts, channels, samples), float32; their sum is the mixture
    present: Tensor  # (parts,) bool; False: the song does not have the part


@dataclass(eq=False, repr=False)
class RandomSegments(Dataset[Segment]):
    """Map-style data set of n_items random segments, which can be pickled.

    Raises:
        InputError: no tracks, an unknown stem, a stem that no track has, different
            formats, or a value out of range.
    """

    tracks: Sequence[Track]  # of one format, chosen as `balance` says
    stems: Sequence[str]  # the first parts of an item, as in `mssedu.models.stems`
    segment: float  # length of an item, seconds; zeros follow a track that is shorter
    n_items: int  # of one pass: batch size times steps for a whole training run
    _: KW_ONLY
    seed: int  # any whole number ≥ 0; another seed gives other items
    remix: bool = True  # choose track and position for each stem independently
    # How often a track is chosen: in proportion to its "duration"; as often as any
    # other "song"; or "stem": without remix, so that each stem is there equally often,
    # as songs that have a rare stem come more often. With remix, each stem is in every
    # item, and "stem" is the same as "duration".
    balance: Balance = "duration"
    # RMS, dB relative to full scale, to which each part of each song is brought first,
    # so that a model does not learn from a few songs that everything is bass
    level_db: float | None = None
    gain_db: tuple[float, float] | None = (-10.0, 6.0)  # limits of a stem's random gain
    channel_flip: float = 0.5  # probability that the channels of a stem are exchanged
    sign_flip: float = 0.5  # probability that a stem is multiplied by -1
    silence: float = 0.0  # probability that a stem is silent, as often in real songs
    # Choose again, at most `MAX_DRAWS` times, if the RMS of a stem is below this level,
    # dB relative to full scale. Then the last choice stays, and `n_quiet` counts it.
    min_active_db: float | None = None

    # With remix, all stems of an item are of songs that fit in tempo and key, and begin
    # on a beat; a song that fits no other, which `n_alone` counts, is mixed with itself
    matched: bool = False
    mixup: float = 0.0  # with remix: probability that a stem is a sum of two recordings
    effects: Sequence[str] = ()  # names in `mssedu.data.EFFECTS`, which follow the gain
    effect_probability: float = 0.1  # of each effect for each stem

    MAX_DRAWS = 10  # some songs have no bass at all; each attempt costs one read

    def __post_init__(self) -> None:
        if not self.tracks or not self.stems:
            raise InputError(
                "at least one track and one stem are needed, got "
                f"{counted(len(self.tracks), 'track')} and "
                f"{counted(len(self.stems), 'stem')}."
            )
        forms = sorted({(track.sample_rate, track.channels) for track in self.tracks})
        if len(forms) > 1:
            listed = ", ".join(sound_form(rate, n) for rate, n in forms)
            raise InputError(
                f"tracks differ in sample rate or number of channels: {listed}."
            )
        ((self.sample_rate, self.channels),) = forms
        self.tracks = tuple(track.with_stems(self.stems) for track in self.tracks)
        self.stems = self.tracks[0].stems
        self.parts = (*self.stems, *_all_unselected(self.tracks))
        check_range("n_items", self.n_items, 1)
        check_range("seed", self.seed, 0)
        for name in ("channel_flip", "sign_flip", "silence", "mixup"):
            check_range(name, getattr(self, name), 0, 1)
        check_range("effect_probability", self.effect_probability, 0, 1)
        for name in self.effects:
            check_name("effect", name, EFFECTS)
        if (self.matched or self.mixup) and not self.remix:
            raise InputError(
                "matched and mixup take stems of several songs, and remix=False takes "
                "those of one. Set remix=True, or matched=False and mixup=0."
            )
        check_range("segment", self.segment, 1 / self.sample_rate)
        self.length = round(self.segment * self.sample_rate)  # samples of an item
        # A faster tempo or speed makes an excerpt shorter.
        longer = [FASTEST for name in self.effects if name in ("tempo", "speed")]
        self.n_read = math.ceil(self.length * math.prod(longer))
        if self.gain_db is not None:
            check_range("gain_db[1]", self.gain_db[1], self.gain_db[0])
        check_name("balance", self.balance, get_args(Balance))
        self.weights = self._weights()
        self.leveling: dict[tuple[int, str], float] = {}  # (track, stem) -> factor
        if self.level_db is not None:
            self.leveling = _leveling(self.tracks, self.level_db)
        self.n_alone, self.partners = 0, torch.ones(0)
        self.beats: list[
            NDArray[np.int64]
        ] = []  # samples at which an excerpt can begin
        if self.matched:
            self._match()
        # Shared with the workers, each of which counts in its own place
        self._counts = torch.zeros(MAX_WORKERS + 1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return self.n_items

    def __getitem__(self, item: int) -> Segment:
        """One item; it depends on the seed and its number only."""
        if not 0 <= item < self.n_items:  # ends `for segment in segments`
            raise IndexError(f"item must be from 0 to {self.n_items - 1}, got {item}.")
        sources = torch.empty(len(self.parts), self.channels, self.n_read)
        present = torch.ones(len(self.parts), dtype=torch.bool)
        places, changes, others, generator = self._draw(item)
        for row, (place, (order, factor)) in enumerate(
            zip(places, changes, strict=True)
        ):
            present[row] = _has(self.tracks[place.track], place.part)
            out = sources[row].numpy()[order]
            self._read(out, place, factor)
            if row in others:
                self._add(out, others[row], factor)
        sources = apply_effects(
            sources,
            self.sample_rate,
            self.effects,
            probability=self.effect_probability,
            generator=generator,
        )
        return Segment(sources[..., : self.length], present)

    def origins(self, item: int) -> list[dict[str, Any]]:
        """Where the parts of an item come from, for a report of what a model met.

        Returns:
            for each part, and each second recording of `mixup`: "part", "track" (the
            song's name), "seconds" (where the excerpt begins) and "factor" (gain and
            sign; 0: silence, or the song does not have the part).

        Example:
            >>> audio = {"vocals": torch.rand(2, 88200)}
            >>> tracks = [Track.from_audio("Sodium", audio, 44100)]
            >>> segments = RandomSegments(tracks, ["vocals"], 1.0, 8, seed=0)
            >>> [(origin["part"], origin["track"]) for origin in segments.origins(3)]
            [('vocals', 'Sodium')]
        """
        places, changes, others, _ = self._draw(item)
        factors = [factor for _, factor in changes]
        origins = [self._origin(*pair) for pair in zip(places, factors, strict=True)]
        for row, (place, gain) in others.items():
            origins.append(self._origin(place, factors[row] * gain))
        return origins

    def _origin(self, place: "_Place", factor: float) -> dict[str, Any]:
        track = self.tracks[place.track]
        return {
            "part": place.part,
            "track": track.name,
            "seconds": place.first / self.sample_rate,
            "factor": factor if _has(track, place.part) else 0.0,
        }

    def _draw(self, item: int) -> "_Draw":
        """All that is drawn for an item before its audio is read."""
        generator = item_generator(self.seed, item)
        together = [(part,) for part in self.parts] if self.remix else [self.parts]
        partners = self._partners(generator)
        places = [
            place
            for parts in together
            for place in self._places(parts, generator, partners)
        ]
        changes = self._changes(generator)
        return _Draw(places, changes, self._others(generator, partners), generator)

    @property
    def n_quiet(self) -> int:
        """Choices so far, of all workers, that stayed below `min_active_db`."""
        return int(self._counts.sum())

    def _places(
        self, parts: tuple[str, ...], generator: torch.Generator, partners: Tensor
    ) -> list["_Place"]:
        """A random place for parts that stay together; stems are active if possible."""
        weights = self.weights[parts]
        if (weights * partners).any():  # else no song that fits has the part
            weights = weights * partners
        for _ in range(self.MAX_DRAWS):
            number = int(torch.multinomial(weights, 1, generator=generator))
            starts = max(self.tracks[number].n_samples - self.n_read, 0) + 1
            first = int(torch.randint(starts, (1,), generator=generator))
            if self.matched and len(beats := self.beats[number]):
                first = int(beats[np.abs(beats - first).argmin()])
            places = [_Place(part, number, first) for part in parts]
            if self.min_active_db is None or self._are_active(places):
                return places
        worker = get_worker_info()
        self._counts[worker.id % MAX_WORKERS + 1 if worker else 0] += 1
        return places

    def _match(self) -> None:
        """Find the beats of all songs, and which songs fit each other."""
        music = [analyze_music(track) for track in self.tracks]
        self.partners = torch.tensor(
            [
                [one is other or songs_fit(one, other) for other in music]
                for one in music
            ]
        )
        self.n_alone = int((self.partners.sum(1) == 1).sum())
        for track, one in zip(self.tracks, music, strict=True):
            beats = np.round(np.array(one.beats) * self.sample_rate).astype(np.int64)
            self.beats.append(beats[beats <= max(track.n_samples - self.n_read, 0)])

    def _partners(self, generator: torch.Generator) -> Tensor:
        """Whether each song may be part of an item: it fits a song chosen at random."""
        if not self.matched:
            return torch.ones(len(self.tracks), dtype=torch.bool)
        weights = torch.stack([*self.weights.values()]).sum(0)
        return self.partners[int(torch.multinomial(weights, 1, generator=generator))]

    def _others(
        self, generator: torch.Generator, partners: Tensor
    ) -> dict[int, tuple["_Place", float]]:
        """Number of a part -> its second recording, and the gain of that."""
        if not self.mixup:
            return {}
        none = torch.zeros(len(self.parts), 1, 1)
        gains = mixup(none, none + 1, probability=self.mixup, generator=generator)
        return {
            row: (self._places((part,), generator, partners)[0], gain)
            for row, (part, gain) in enumerate(
                zip(self.parts, gains.flatten().tolist(), strict=True)
            )
            if gain
        }

    def _are_active(self, places: list["_Place"]) -> bool:
        """Whether all stems that the song has are loud enough at a place."""
        assert self.min_active_db is not None
        track = self.tracks[places[0].track]
        stems = [p for p in places if p.part in self.stems and _has(track, p.part)]
        for place in stems:
            place.audio = np.empty((self.channels, self.n_read), np.float32)
            self._read(place.audio, place, 1.0)
        levels = [_level_db(torch.from_numpy(place.audio)[None]) for place in stems]
        return not levels or min(levels) >= self.min_active_db

    def _read(self, out: NDArray[np.float32], place: "_Place", factor: float) -> None:
        """Fill `out` with a part at its place; zeros follow the end of a track."""
        track = self.tracks[place.track]
        n = min(self.n_read, track.n_samples)
        out[:, n:] = 0.0
        if factor == 0 or not _has(track, place.part):
            out.fill(0.0)
        elif place.audio is not None and place.audio is not out:  # it was read before
            np.multiply(place.audio, factor, out=out)
        elif (level := self.leveling.get((place.track, place.part), 1.0)) != 1.0:
            track.read_into(out[:, :n], place.part, place.first, level)
            out *= factor
        else:
            track.read_into(out[:, :n], place.part, place.first, factor)

    def _add(
        self, out: NDArray[np.float32], other: tuple["_Place", float], factor: float
    ) -> None:
        """Add a second recording of a part to the first one."""
        place, gain = other
        second = np.empty_like(out)
        self._read(second, place, factor * gain)
        out += second

    def _changes(self, generator: torch.Generator) -> list[tuple[slice, float]]:
        """The augmentations: order of the channels and factor, for each part.

        They are drawn for one number per channel instead of all samples, so that a stem
        is read and changed in one pass.
        """
        factors = torch.ones(len(self.parts), self.channels, 1)
        order = torch.arange(self.channels).to(factors)[:, None].expand_as(factors)
        if self.gain_db is not None:
            factors = random_gain(factors, *self.gain_db, generator=generator)
        order = flip_channels(order, self.channel_flip, generator=generator)
        factors = flip_sign(factors, self.sign_flip, generator=generator)
        factors = random_silence(factors, self.silence, generator=generator)
        rows = zip(order[..., 0].int().tolist(), factors[:, 0, 0].tolist(), strict=True)
        return [(slice(None, None, -1 if o[0] else 1), factor) for o, factor in rows]

    def _weights(self) -> dict[tuple[str, ...], Tensor]:
        """For the parts that are drawn together: how often each track is chosen."""
        sizes = torch.tensor([track.n_samples for track in self.tracks]).double()
        if self.balance == "song":
            sizes = torch.ones_like(sizes)
        has = {
            stem: torch.tensor([_has(track, stem) for track in self.tracks])
            for stem in self.stems
        }
        for stem in self.stems:
            if not has[stem].any():
                raise InputError(
                    f"no track has the stem {stem!r}. Leave it out of stems, or add a "
                    "song that has it."
                )
        if self.remix:
            # A part that is not estimated is drawn from all songs, so that it is in a
            # mixture as often as songs have it.
            return {(p,): sizes * has[p] if p in has else sizes for p in self.parts}
        if self.balance == "stem":
            shares = [sizes * there / sizes[there].sum() for there in has.values()]
            sizes = torch.stack(shares).sum(0)
        return {self.parts: sizes}


@dataclass(slots=True)
class _Place:
    """Where a part of an item comes from."""

    part: str
    track: int
    first: int  # sample
    audio: NDArray[np.float32] | None = None  # what is there, if it was read already


class _Draw(NamedTuple):
    """All that is random in an item, but for effects: the generator goes on to them."""

    places: list[_Place]  # of each part
    changes: list[tuple[slice, float]]  # order of the channels and factor of each part
    others: dict[int, tuple[_Place, float]]  # second recordings, by number of the part
    generator: torch.Generator


def _has(track: Track, part: str) -> bool:
    known = part in track.stems or part in track.unselected
    return known and part not in track.absent


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
        for part in filter(partial(_has, track), (*track.stems, *track.unselected)):
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
