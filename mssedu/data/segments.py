"""Random training segments: an endless supply of new mixtures from a few songs.

    seed, item ──▶ generator ──▶ track and position of each part ──▶ read
               ──▶ gain, channel flip, sign flip, silence
               ──▶ sources (parts, channels, samples)

    parts: the selected stems, then all other parts of the mixtures

The sum of the parts is a whole mixture, for every selection of stems: a model that
estimates the vocals needs the band in its input. A part that a song does not have is
silent.

Item i depends on (seed, i) only: not on the order of reading, on the number of workers
or on earlier items. So a run can resume at any item, and two machines give the same
items. Use tracks `in_memory()` if they fit, because compressed files are decoded from
their beginning for each read. Notebook: 05.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mssedu.audio.tensors import is_source
from mssedu.data.augment import flip_channels, flip_sign, random_gain, random_silence
from mssedu.data.track import REST, Track
from mssedu.errors import InputError, check_range

SILENT_DB = -80.0  # RMS of a stem over a song; below this level it is only noise


class RandomSegments(Dataset[Tensor]):
    """Map-style data set of n_items random segments, which can be pickled.

    Args:
        tracks: of one format, with all these stems. The probability of a track is in
            proportion to its duration.
        stems: the first parts of an item, in order, as in `mssedu.models.stems`.
        segment: length of an item, seconds; zeros follow a track that is shorter.
        n_items: items of one pass; batch size times steps for a whole training run.
        seed: any whole number ≥ 0; another seed gives other items.
        remix: choose track and position for each stem independently, not for all
            together.
        level_db: RMS, dB relative to full scale, to which each part of each song is
            brought first. So a model does not learn from a few songs with loud bass
            that everything is bass.
        gain_db: smallest and largest random gain of a stem, dB; None: no gain.
        channel_flip: probability that the channels of a stem are exchanged.
        sign_flip: probability that a stem is multiplied by -1.
        silence: probability that a stem is silent, as it often is in real songs.
        min_active_db: choose again, at most `MAX_DRAWS` times, if the RMS of a stem is
            below this level, dB relative to full scale.

    Raises:
        InputError: no tracks, an unknown stem, different formats, or a value out of
            range.
    """

    MAX_DRAWS = 10  # some songs have no bass at all; each attempt costs one read

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
            raise IndexError(
                f"item must be from 0 to {self.n_items - 1}, got {item}. Raise n_items "
                "for a longer run."
            )
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
    parts = " + ".join(tracks[0].stems)
    return f"mixture: {parts}" + (
        f" + {', '.join(others)} (not estimated)" if others else ""
    )


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
    """The factor that brings each part of each song to the level.

    The factor is 1 for a silent part, and for a rest that is only what a codec changed.
    """
    factors = {}
    for number, track in enumerate(tracks):
        for part in (*track.stems, *track.unselected):
            audio = track.stem(part)
            level = _level_db(audio[None])
            silent = level < SILENT_DB
            from_codec = part == REST and not is_source(audio, track.mixture())
            keep = silent or from_codec
            factors[number, part] = 1.0 if keep else 10 ** ((level_db - level) / 20)
    return factors


def _level_db(sources: Tensor) -> float:
    """RMS of the quietest stem, dB relative to full scale."""
    power = sources.square().mean((-2, -1)).min()
    return float(10 * torch.log10(power))


def _check_tracks(tracks: Sequence[Track], stems: Sequence[str]) -> None:
    if not tracks or not stems:
        raise InputError(
            f"at least one track and one stem are needed, got {len(tracks)} tracks and "
            f"{len(stems)} stems. Load tracks with mssedu.load_dataset."
        )
    formats = {(track.sample_rate, track.channels) for track in tracks}
    if len(formats) > 1:
        listed = ", ".join(f"{rate} Hz × {n} channels" for rate, n in sorted(formats))
        raise InputError(
            f"tracks must have one sample rate and number of channels, got {listed}. "
            "Convert the others with mssedu.audio.resample and match_channels."
        )
