"""A song: its mixture, the stems that are asked for, and everything else it holds.

    stems on disk ──stem(name, start, duration)──▶ (channels, samples)
                  ──sources(start, duration)─────▶ (stems, channels, samples)
                  ──mixture(start, duration)─────▶ (channels, samples)

    mixture = selected stems + unselected parts, whatever is selected
              `stems`          `unselected`: the other stems, and the rest

The rest is mixture − sum of all stems. There is one where the mixture has a file of its
own: for a pair (mixture, dizi) it is the whole accompaniment, for MUSDB18 what the AAC
codec changed. `with_stems` selects and groups; the mixture stays what it is.

Positions are seconds; sample n = round(seconds · sample_rate), so the same seconds
always mean the same samples. A track is a frozen value: opening a data set of hours
costs no memory, and worker processes receive it whole. Notebook: 01.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from mssedu.audio.tensors import load_audio, rms_db
from mssedu.errors import AudioFileError, InputError, check_name, check_range, message
from mssedu.models.stems import resolve

MIXTURE = "mixture"  # the part that is no stem
REST = "rest of the mixture"  # the part that is in no stem
REST_DB = -20.0  # against the mixture: a rest below it is what a codec changed
HASHED = 2**16  # bytes at the begin, the middle and the end of a file


@dataclass(frozen=True)
class StemFile:
    """Where the audio of one stem (or of the mixture) lies: a file and its stream."""

    stem: str
    path: Path
    stream: int = 0  # which audio stream of the file; .stem.mp4 has five
    n_samples: int | None = None  # of the file, where the track is padded beyond it


@dataclass(frozen=True, repr=False)
class Track:
    """A song: names, sizes, and where its audio lies.

    Tracks come from `load_track`, `load_dataset` or `Track.from_audio`. The mixture is
    the sum of all stems unless a file or a tensor of its own exists.

    Example:
        >>> voice, band = torch.ones(2, 44100), torch.zeros(2, 44100)
        >>> sources = {"vocals": voice, "other": band}
        >>> track = Track.from_audio("Test", sources, 44100)
        >>> track
        Track('Test', 1.0 s, 44100 Hz, 2 channels, stems: vocals, other)
        >>> track.sources(start=0.5).shape
        torch.Size([2, 2, 22050])
    """

    name: str
    stems: tuple[str, ...]  # empty: only the mixture is known
    sample_rate: int  # Hz
    channels: int
    n_samples: int
    split: str | None = None  # "train", "valid", "test"
    files: tuple[StemFile, ...] = ()  # files that share a stem are summed
    silent: tuple[str, ...] = ()  # stems without a file, taken as silence on request
    rest_in: str | None = None  # the stem that the rest of the mixture belongs to
    audio: Mapping[str, Tensor] | None = field(default=None, compare=False)

    @classmethod
    def from_audio(
        cls,
        name: str,
        sources: Mapping[str, Tensor],
        sample_rate: int,
        *,
        mixture: Tensor | None = None,
        split: str | None = None,
    ) -> "Track":
        """Track of tensors: for tests, synthetic songs and audio made in a notebook.

        Args:
            sources: stem name -> (channels, samples), all of one shape.
            sample_rate: Hz.
            mixture: (channels, samples) where it is not the sum of the sources.

        Raises:
            InputError: no audio at all, or shapes that differ.
        """
        parts = dict(sources) if mixture is None else {MIXTURE: mixture, **sources}
        shapes = {part: tuple(audio.shape) for part, audio in parts.items()}
        if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 2:
            wanted = "(channels, samples) tensors of one shape"
            remedy = "Bring all stems to one length and channel count."
            raise InputError(message("Track.from_audio", wanted, shapes, remedy))
        channels, n_samples = next(iter(shapes.values()))
        stems = tuple(sources)
        return cls(name, stems, sample_rate, channels, n_samples, split, audio=parts)

    def __post_init__(self) -> None:
        unread = set(self.stems) - {*self._named(), *self.silent}
        if unread:
            wanted = f"audio of each stem, and no stem called {MIXTURE!r}"
            remedy = "Use load_track or Track.from_audio."
            where = f"Track {self.name!r}"
            raise InputError(message(where, wanted, f"stems {sorted(unread)}", remedy))

    def __repr__(self) -> str:
        stems = f"stems: {', '.join(self.stems)}" if self.stems else "no stems"
        split = f", split: {self.split}" if self.split else ""
        return (
            f"Track({self.name!r}, {self.duration:.1f} s, {self.sample_rate} Hz, "
            f"{self.channels} channels, {stems}{split})"
        )

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    @property
    def mixture_is_sum(self) -> bool:
        """Whether the mixture is, by definition, the exact sum of all stems."""
        return MIXTURE not in self._parts()

    @property
    def unselected(self) -> tuple[str, ...]:
        """What else is in the mixture: the other stems, then the rest if there is one.

        Example:
            >>> voice, band = torch.ones(2, 44100), torch.zeros(2, 44100)
            >>> parts = {"vocals": voice, "band": band}
            >>> track = Track.from_audio("Test", parts, 44100)
            >>> track.with_stems(["vocals"]).unselected
            ('band',)
        """
        others = tuple(name for name in self._named() if name not in self.stems)
        return others if self.mixture_is_sum or self.rest_in else (*others, REST)

    def stem(
        self, name: str, start: float = 0.0, duration: float | None = None
    ) -> Tensor:
        """Audio of one stem, (channels, samples).

        Args:
            name: one of `stems` or of `unselected`.
            start: first second, 0 up to the track's duration.
            duration: seconds, clipped to the end of the track; to the end if None.

        Raises:
            InputError: an unknown stem, or a position outside the track.
            AudioFileError: a file that cannot be read or is shorter than it says.
        """
        known = (*self.stems, *self.unselected)
        check_name("stem", name, known, where=f"Track {self.name!r}")
        return self._read(name, *self._span(start, duration))

    def sources(self, start: float = 0.0, duration: float | None = None) -> Tensor:
        """All stems in the order of `stems`, (stems, channels, samples); see `stem`."""
        if not self.stems:
            remedy = "Use mixture(), or load a folder with one file per stem."
            where = f"Track {self.name!r}"
            raise InputError(message(where, "a track with stems", "none", remedy))
        span = self._span(start, duration)
        return torch.stack([self._read(stem, *span) for stem in self.stems])

    def mixture(self, start: float = 0.0, duration: float | None = None) -> Tensor:
        """The whole mixture, (channels, samples), whichever stems are selected."""
        span = self._span(start, duration)
        if not self.mixture_is_sum:
            return self._read(MIXTURE, *span)
        return torch.stack([self._read(part, *span) for part in self._parts()]).sum(0)

    def in_memory(self) -> "Track":
        """The same track with its audio decoded to memory: reads become slices.

        A minute of four stereo stems at 44.1 kHz takes 85 MB.
        """
        if self.audio is not None:
            return self
        audio = {part: self._read(part, 0, self.n_samples) for part in self._parts()}
        return replace(self, audio=audio)

    def with_stems(self, stems: Sequence[str] | Mapping[str, Iterable[str]]) -> "Track":
        """The same song and mixture with other stems.

        Args:
            stems: the stems to select, in order, as in `mssedu.models.stems`: "vocals",
                "band=drums+bass", "instrumental=-vocals", "no_vocals"; or new name ->
                stems to be summed, such as {"band": ["drums", "bass"]}.

        Raises:
            InputError: an unknown stem, one stem in two groups, a new name that belongs
                to a stem outside the group, or nothing beside what is left out.
        """
        groups = self._groups(stems)
        rename = self._renaming(groups)
        files = (replace(f, stem=rename.get(f.stem, f.stem)) for f in self.files)
        audio: dict[str, Tensor] = {}
        for part, samples in (self.audio or {}).items():
            new = rename.get(part, part)
            audio[new] = audio[new] + samples if new in audio else samples
        silent = (
            new
            for new, members in groups.items()
            if REST not in members and set(members) <= set(self.silent)
        )
        owner = rename.get(self.rest_in or REST, self.rest_in)
        return replace(
            self,
            stems=tuple(groups),
            files=tuple(files),
            silent=tuple(silent),
            rest_in=owner,
            audio=None if self.audio is None else audio,
        )

    def _groups(
        self, stems: Sequence[str] | Mapping[str, Iterable[str]]
    ) -> dict[str, tuple[str, ...]]:
        """New stem -> the parts that it is the sum of; REST may be one of them."""
        if isinstance(stems, Mapping):
            return {new: tuple(members) for new, members in stems.items()}
        where, groups = f"Track {self.name!r}", {}
        known = tuple(dict.fromkeys((*self._named(), *self.silent)))
        for rule in resolve(where, stems, known):
            members = rule.members
            if rule.from_mixture:
                left = (name for name in known if name not in rule.members)
                has_rest = not (self.mixture_is_sum or self.rest_in)
                members = (*left, REST) if has_rest else tuple(left)
            if not members:
                left_out, remedy = ", ".join(rule.members), "Add the other stems."
                wanted = f"something beside {left_out} in the mixture"
                raise InputError(message(where, wanted, f"{left_out} alone", remedy))
            groups[rule.name] = members
        return groups

    def _renaming(self, groups: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """Old part -> new stem, checked."""
        where = f"Track {self.name!r}"
        known = {*self._named(), *self.silent}
        rename: dict[str, str] = {}
        for new, members in groups.items():
            for stem in members:
                if stem != REST:
                    check_name("stem", stem, known, where=where)
                if stem in rename:
                    got = f"{stem!r} in {rename[stem]!r} and in {new!r}"
                    remedy = "Name it once."
                    raise InputError(message(where, "disjoint groups", got, remedy))
                rename[stem] = new
        taken = sorted((known - rename.keys()) & groups.keys())
        if taken:
            wanted = "new names that no stem outside the groups has"
            raise InputError(message(where, wanted, taken, "Choose another name."))
        return rename

    def _parts(self) -> tuple[str, ...]:
        """Names of all that has audio of its own: stems, and perhaps the mixture."""
        if self.audio is not None:
            return tuple(self.audio)
        return tuple(dict.fromkeys(file.stem for file in self.files))

    def _named(self) -> tuple[str, ...]:
        """Names of all stems that can be read, selected or not."""
        names = dict.fromkeys(part for part in self._parts() if part != MIXTURE)
        return tuple(names | dict.fromkeys(filter(None, [self.rest_in])))

    def _span(self, start: float, duration: float | None) -> tuple[int, int]:
        """First sample and number of samples of a stretch given in seconds."""
        where = f"Track {self.name!r}"
        check_range("start", start, 0, self.duration, high_open=True, where=where)
        # The last half sample would round to the end, where nothing is left to read.
        first = min(round(start * self.sample_rate), self.n_samples - 1)
        left = self.n_samples - first
        if duration is None:
            return first, left
        check_range("duration", duration, 1 / self.sample_rate, where=where)
        return first, round(min(duration * self.sample_rate, left))

    def _read(self, part: str, first: int, length: int) -> Tensor:
        """Samples first … first + length of a part; the caller may write to them."""
        if part in self.silent:
            return torch.zeros(self.channels, length)
        if not self.mixture_is_sum and part == (self.rest_in or REST):
            audio = self._read(MIXTURE, first, length)
            for other in self._parts():
                if other not in (MIXTURE, part):
                    audio -= self._read(other, first, length)
            return audio
        if self.audio is not None:
            return self.audio[part][:, first : first + length].clone()
        files = [file for file in self.files if file.stem == part]
        return torch.stack([self._load(f, first, length) for f in files]).sum(0)

    def _load(self, file: StemFile, first: int, length: int) -> Tensor:
        known = length if file.n_samples is None else file.n_samples - first
        if known <= 0:
            return torch.zeros(self.channels, length)
        wanted = (self.channels, min(known, length))
        audio, _ = load_audio(
            file.path,
            start_seconds=first / self.sample_rate,
            duration_seconds=wanted[1] / self.sample_rate,
            stream=file.stream,
        )
        if audio.shape != wanted:
            where = str(file.path)
            remedy = "The file is damaged or has changed; load the data set again."
            expected = f"{wanted} (channels, samples) from sample {first} on"
            raise AudioFileError(message(where, expected, tuple(audio.shape), remedy))
        return torch.nn.functional.pad(audio, (0, length - wanted[1]))


def is_source(rest: Tensor, mixture: Tensor) -> bool:
    """Whether a part of a mixture is a source, and not only what a codec changed.

    Args:
        rest, mixture: (…, samples).

    Example:
        >>> mixture = torch.ones(2, 100)
        >>> is_source(0.5 * mixture, mixture), is_source(0.01 * mixture, mixture)
        (True, False)
    """
    return rms_db(rest) > rms_db(mixture) + REST_DB


def track_sha256(track: Track) -> str:
    """What a song holds, by a quick look: sizes, and three pieces of each file.

    The name does not count, so that a renamed copy is found. A change in the middle of
    a file that keeps its size may be missed; `mssedu.evaluate` hashes all of it.
    """
    digest = hashlib.sha256(f"{track.sample_rate} {track.n_samples}".encode())
    for file in sorted(track.files, key=lambda file: (file.stem, file.stream)):
        stat = file.path.stat()
        pieces = _pieces_sha256(file.path, stat.st_size, stat.st_mtime_ns)
        digest.update(f"{file.stem} {file.stream} {pieces}".encode())
    if not track.files:
        for part, audio in sorted((track.audio or {}).items()):
            digest.update(part.encode())
            digest.update(audio.contiguous().numpy().data)
    return digest.hexdigest()


def data_sha256(tracks: Sequence[Track]) -> str:
    """What a list of songs holds, names and order included; see `track_sha256`."""
    lines = [f"{track.name} {track_sha256(track)}\n" for track in tracks]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def _pieces_sha256(path: Path, size: int, time: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in (0, size // 2, max(size - HASHED, 0)):
            file.seek(start)
            digest.update(file.read(HASHED))
    return digest.hexdigest()
