"""A song: its mixture, the selected stems, and all other parts of the mixture.

    stems on disk ──stem(name, start, duration)──▶ (channels, samples)
                  ──sources(start, duration)─────▶ (stems, channels, samples)
                  ──mixture(start, duration)─────▶ (channels, samples)

    mixture = selected stems + unselected parts, for every selection
              `stems`          `unselected`: the other stems, and the rest

The rest is mixture − sum of all stems. A song has a rest if its mixture has a file of
its own. For a pair (mixture, dizi) the rest is the whole accompaniment; for MUSDB18 it
is what the AAC codec changed. `with_stems` selects and groups stems and does not change
the mixture.

A stem of the data set may be absent from a song: there is no file of it. That is not
silence. If the mixture has a file of its own, an absent stem may sound in the rest. So
nothing is compared with it: `sources` has zeros in its row, and `absent` names it.

Positions are seconds. Second t is sample round(t · sample_rate), so the same seconds
are always the same samples. A track is a frozen value that loads audio only when it is
read: a data set of hours needs no memory and can be sent to worker processes.
Notebook: 01.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mssedu.audio.names import name_bytes
from mssedu.audio.sndfile import read_at_once
from mssedu.audio.tensors import load_audio
from mssedu.audio.words import counted
from mssedu.data.mapped import CachedFile
from mssedu.errors import (
    AudioFileError,
    InputError,
    check_name,
    check_range,
    check_tensor,
)
from mssedu.models.stems import resolve

MIXTURE = "mixture"  # the name of the mixture among the parts of a song
REST = "rest of the mixture"  # the name of what is in the mixture and in no stem
HASHED = 2**16  # bytes at the beginning, the middle and the end of a file


@dataclass(frozen=True)
class StemFile:
    """The file and the stream that hold the audio of one stem, or of the mixture."""

    stem: str
    path: Path
    stream: int = 0  # number of the audio stream in the file; .stem.mp4 has five
    n_samples: int | None = None  # length of the file, if the track is longer (padded)
    cache: CachedFile | None = None  # a decoded copy, see `mssedu.data.cached`
    # An excerpt of a recording: it begins at this sample of the file, and its samples
    # are multiplied by the gain; its length is n_samples. See `mssedu.data.building`.
    start: int = 0
    gain: float = 1.0  # a float32 number

    @property
    def excerpt(self) -> str:
        """What hashes of the song depend on beside the file; empty for whole files."""
        is_whole = self.start == 0 and self.gain == 1
        return "" if is_whole else f" {self.start} {self.n_samples} {self.gain}"


@dataclass(frozen=True, repr=False)
class Track:
    """A song: its name, its size, and the files or tensors that hold its audio.

    Use `load_track`, `load_dataset` or `Track.from_audio` to make a track. The mixture
    is the sum of all stems, unless it has a file or a tensor of its own.

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
    stems: tuple[str, ...]  # empty: there is only a mixture
    sample_rate: int  # Hz
    channels: int
    n_samples: int
    split: str | None = None  # "train", "valid", "test"
    files: tuple[StemFile, ...] = ()  # files that share a stem are summed
    silent: tuple[str, ...] = ()  # stems without a file, which the user wants silent
    absent: tuple[str, ...] = ()  # stems without a file, of which nothing is known
    rest_in: str | None = None  # the stem that the rest of the mixture is a part of
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
        absent: Sequence[str] = (),
    ) -> "Track":
        """Make a track of tensors: for tests, synthetic songs and notebooks.

        Args:
            sources: stem name -> (channels, samples), all of one shape.
            sample_rate: Hz.
            mixture: (channels, samples), if it is not the sum of the sources.
            absent: names of more stems, of which the song has no audio.

        Raises:
            InputError: there is no audio, or the shapes differ.
        """
        parts = dict(sources) if mixture is None else {MIXTURE: mixture, **sources}
        for part, audio in parts.items():
            check_tensor(part, audio)
        shapes = {part: tuple(audio.shape) for part, audio in parts.items()}
        if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 2:
            raise InputError(
                f"Track {name!r}: all sources and the mixture must have one shape "
                f"(channels, samples), got {shapes}."
            )
        channels, n_samples = next(iter(shapes.values()))
        return cls(
            name,
            (*sources, *absent),
            sample_rate,
            channels,
            n_samples,
            split,
            absent=tuple(absent),
            audio=parts,
        )

    def __post_init__(self) -> None:
        without_audio = set(self.stems) - {*self._named(), *self.silent, *self.absent}
        if without_audio:
            raise InputError(
                f"Track {self.name!r}: there is no audio of the stems "
                f"{', '.join(sorted(without_audio))} (none can be called {MIXTURE!r})."
            )
        with_audio = set(self.absent) & {*self._named(), *self.silent}
        if with_audio or not set(self.absent) <= set(self.stems):
            raise InputError(
                f"Track {self.name!r}: absent must name stems without audio, got "
                f"{', '.join(self.absent)}."
            )

    def __repr__(self) -> str:
        marks = [f"{s} (absent)" if s in self.absent else s for s in self.stems]
        stems = f"stems: {', '.join(marks)}" if marks else "no stems"
        split = f", split: {self.split}" if self.split else ""
        return (
            f"Track({self.name!r}, {self.duration:.1f} s, {self.sample_rate} Hz, "
            f"{counted(self.channels, 'channel')}, {stems}{split})"
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
    def present(self) -> tuple[str, ...]:
        """The selected stems that are not absent, in the order of `stems`."""
        return tuple(stem for stem in self.stems if stem not in self.absent)

    @property
    def unselected(self) -> tuple[str, ...]:
        """The other parts of the mixture: its other stems, then the rest if any."""
        others = tuple(name for name in self._named() if name not in self.stems)
        return others if self.mixture_is_sum or self.rest_in else (*others, REST)

    def stem(
        self, name: str, start: float = 0.0, duration: float | None = None
    ) -> Tensor:
        """Audio of one stem, (channels, samples).

        Args:
            name: one of `present` or of `unselected`.
            start: seconds, 0 up to the track's duration (excluded).
            duration: seconds, at most up to the end of the track. None: up to it.

        Raises:
            InputError: an unknown or absent stem, a position outside the track, or NaN
                or Inf in a file.
            AudioFileError: a file cannot be read, or is shorter than its header says.
        """
        known = (*self.stems, *self.unselected)
        check_name("stem", name, known, where=f"Track {self.name!r}")
        if name in self.absent:
            raise InputError(
                f"Track {self.name!r}: the stem {name!r} is absent: the song has no "
                "audio of it. Choose one of Track.present."
            )
        return self._read(name, *self._span(start, duration))

    def sources(self, start: float = 0.0, duration: float | None = None) -> Tensor:
        """All stems in the order of `stems`, (stems, channels, samples); see `stem`.

        The rows of the stems in `absent` are zeros, which are no reference.
        """
        if not self.stems:
            raise InputError(f"Track {self.name!r} has no stems. Use mixture().")
        span = self._span(start, duration)
        return torch.stack([self._read(stem, *span) for stem in self.stems])

    def mixture(self, start: float = 0.0, duration: float | None = None) -> Tensor:
        """The whole mixture, (channels, samples), for every selection of stems."""
        span = self._span(start, duration)
        if not self.mixture_is_sum:
            return self._read(MIXTURE, *span)
        return torch.stack([self._read(part, *span) for part in self._parts()]).sum(0)

    def read_into(
        self, out: NDArray[np.float32], part: str, first: int, factor: float = 1.0
    ) -> None:
        """Write a part from sample `first` on into `out`, times a factor.

        This is `stem` without checks and without copies in between.

        Args:
            out: (channels, length).
            part: one of `present` or of `unselected`.
            first: a sample; first + length is in the track.
            factor: for all samples.
        """
        is_rest = not self.mixture_is_sum and part == (self.rest_in or REST)
        if is_rest or part in self.silent:
            audio = self._read(part, first, out.shape[-1])
        elif self.audio is None:
            self._read_files(out, part, first, factor)
            return
        else:
            audio = self.audio[part][:, first : first + out.shape[-1]].detach()
        np.multiply(audio.numpy(), factor, out=out, casting="same_kind")

    def in_memory(self) -> "Track":
        """The same track in memory: 85 MB for a minute of four stereo stems."""
        if self.audio is not None:
            return self
        audio = {part: self._read(part, 0, self.n_samples) for part in self._parts()}
        return replace(self, audio=audio)

    def with_stems(self, stems: Sequence[str] | Mapping[str, Iterable[str]]) -> "Track":
        """The same song and mixture with other stems.

        Args:
            stems: the stems to select, in order, as in `mssedu.models.stems`: "vocals",
                "band=drums+bass", "instrumental=-vocals", "no_vocals"; or new name ->
                stems to sum, such as {"band": ["drums", "bass"]}. A sum with an absent
                stem is absent, and so is the mixture without an absent stem.

        Raises:
            InputError: an unknown stem, one stem in two groups, a new name that another
                stem has, or a mixture without stems that holds nothing else.
        """
        groups = self._groups(stems)
        absent = {
            new
            for new, members in groups.items()
            if not members or set(members) & set(self.absent)
        }
        rename = self._renaming(groups, absent)
        audio: dict[str, Tensor] = {}
        for part, samples in (self.audio or {}).items():
            new = rename.get(part, part)
            audio[new] = audio[new] + samples if new in audio else samples
        silent = (
            new
            for new, members in groups.items()
            if new not in absent and set(members) <= set(self.silent)
        )
        return replace(
            self,
            stems=tuple(groups),
            files=tuple(
                replace(f, stem=rename.get(f.stem, f.stem)) for f in self.files
            ),
            silent=tuple(silent),
            absent=tuple(new for new in groups if new in absent),
            rest_in=rename.get(self.rest_in or REST, self.rest_in),
            audio=None if self.audio is None else audio,
        )

    def _groups(
        self, stems: Sequence[str] | Mapping[str, Iterable[str]]
    ) -> dict[str, tuple[str, ...]]:
        """New stem -> the parts to sum; REST may be one of them. None: it is absent."""
        if isinstance(stems, Mapping):
            return {new: tuple(members) for new, members in stems.items()}
        where, groups = f"Track {self.name!r}", {}
        known = dict.fromkeys((*self._named(), *self.silent))
        everything = [*known] if self.mixture_is_sum or self.rest_in else [*known, REST]
        for rule in resolve(where, stems, (*known, *self.absent)):
            members = rule.members
            if rule.from_mixture and set(members) & set(self.absent):
                members = ()
            elif rule.from_mixture:
                members = tuple(name for name in everything if name not in rule.members)
            if not members and not self.absent:
                left_out = ", ".join(rule.members)
                raise InputError(
                    f"{where}: {rule.name} is empty: the mixture is {left_out} alone."
                )
            groups[rule.name] = members
        return groups

    def _renaming(
        self, groups: Mapping[str, tuple[str, ...]], absent: set[str]
    ) -> dict[str, str]:
        """Old part -> new stem; raises InputError for names that cannot be used."""
        where = f"Track {self.name!r}"
        known = {*self._named(), *self.silent, *self.absent}
        rename: dict[str, str] = {}
        for new, members in groups.items():
            for stem in members:
                if stem != REST:
                    check_name("stem", stem, known, where=where)
                if stem in rename:
                    raise InputError(
                        f"{where}: {stem!r} is in {rename[stem]!r} and in {new!r}."
                    )
                rename[stem] = new
        taken = sorted((known - rename.keys()) & groups.keys())
        if taken:
            raise InputError(f"{where}: other stems are called {', '.join(taken)}.")
        # What an absent sum would consist of stays in the mixture, unselected.
        for old, new in [*rename.items()]:
            if new in absent:
                rename[old] = f"part of {new}" if old in groups else old
        return rename

    def _parts(self) -> tuple[str, ...]:
        """Names of all parts with audio: stems, and the mixture if it has its own."""
        return tuple(dict.fromkeys(self.audio or [file.stem for file in self.files]))

    def _named(self) -> tuple[str, ...]:
        """Names of all stems with audio, selected or not."""
        parts = (*self._parts(), self.rest_in or MIXTURE)
        return tuple(dict.fromkeys(part for part in parts if part != MIXTURE))

    def _span(self, start: float, duration: float | None) -> tuple[int, int]:
        """First sample and number of samples of an excerpt in seconds."""
        where = f"Track {self.name!r}"
        check_range("start", start, 0, self.duration, high_open=True, where=where)
        # A position in the last half sample would be rounded to the end of the track,
        # where there is no sample to read.
        first = min(round(start * self.sample_rate), self.n_samples - 1)
        left = self.n_samples - first
        if duration is None:
            return first, left
        check_range("duration", duration, 1 / self.sample_rate, where=where)
        return first, round(min(duration * self.sample_rate, left))

    def _read(self, part: str, first: int, length: int) -> Tensor:
        """Samples first … first + length of a part, as a copy."""
        if part in self.silent or part in self.absent:
            return torch.zeros(self.channels, length)
        if not self.mixture_is_sum and part == (self.rest_in or REST):
            audio = self._read(MIXTURE, first, length)
            for other in self._parts():
                if other not in (MIXTURE, part):
                    audio -= self._read(other, first, length)
            return audio
        if self.audio is not None:
            return self.audio[part][:, first : first + length].clone()
        audio = torch.empty(self.channels, length)
        self._read_files(audio.numpy(), part, first, 1.0)
        return audio

    def _read_files(
        self, out: NDArray[np.float32], part: str, first: int, factor: float
    ) -> None:
        files = [file for file in self.files if file.stem == part]
        if len(files) == 1:
            self._load(out, files[0], first, factor)
            return
        audio = np.empty((len(files), *out.shape), np.float32)
        for row, file in zip(audio, files, strict=True):
            self._load(row, file, first, 1.0)
        np.multiply(torch.from_numpy(audio).sum(0).numpy(), factor, out=out)

    def _load(
        self, out: NDArray[np.float32], file: StemFile, first: int, factor: float
    ) -> None:
        """Fill `out` from a file, with zeros behind its end."""
        length = out.shape[-1]
        known = length if file.n_samples is None else max(file.n_samples - first, 0)
        out[:, known:] = 0.0
        if not known:
            return
        out = out[:, :known]
        first, last_factor = file.start + first, 1.0
        if file.gain != 1:  # two steps, as if the excerpt were a file of its own
            factor, last_factor = file.gain, factor
        if file.cache:
            file.cache.read(out, first, factor)
        elif file.stream or not read_at_once(out, file.path, first, factor):
            np.multiply(self._decode(file, first, out.shape[-1]), factor, out=out)
        if last_factor != 1:
            out *= last_factor

    def _decode(self, file: StemFile, first: int, length: int) -> NDArray[np.float32]:
        audio, _ = load_audio(
            file.path,
            start_seconds=first / self.sample_rate,
            duration_seconds=length / self.sample_rate,
            stream=file.stream,
        )
        shape = (self.channels, length)
        if audio.shape != shape:
            raise AudioFileError(
                f"{file.path}: from sample {first} on, (channels, samples) should be "
                f"{shape}, got {tuple(audio.shape)}. Load the data set again."
            )
        finite = audio.isfinite().all(0)
        if not finite.all():
            bad = first + int((~finite).nonzero()[0])
            raise InputError(
                f"Track {self.name!r}, {file.stem} ({file.path}): NaN or Inf in "
                f"{counted(int((~finite).sum()), 'sample')}, the first is sample {bad} "
                f"({bad / self.sample_rate:.3f} s). Export the file again."
            )
        return audio.numpy()


def track_sha256(track: Track) -> str:
    """A quick hash of a song's content: of the sizes, and of three pieces of each file.

    A renamed copy has the same hash. The hash may miss a change that keeps the size of
    a file; `mssedu.evaluate` hashes all of it.
    """
    digest = hashlib.sha256(f"{track.sample_rate} {track.n_samples}".encode())
    for file in sorted(track.files, key=lambda file: (file.stem, file.stream)):
        stat = file.path.stat()
        pieces = _pieces_sha256(file.path, stat.st_size, stat.st_mtime_ns)
        line = f"{file.stem} {file.stream} {pieces}{file.excerpt}"
        digest.update(name_bytes(line))
    if not track.files:
        for part, audio in sorted((track.audio or {}).items()):
            digest.update(name_bytes(part))
            digest.update(audio.contiguous().numpy().data)
    return digest.hexdigest()


def data_sha256(tracks: Sequence[Track]) -> str:
    """A quick hash of a list of songs, with names and order; see `track_sha256`.

    Songs of the same files differ if a stem is absent from one and silent in the other.
    """
    lines = []
    for track in tracks:
        absent = f" without {', '.join(track.absent)}" if track.absent else ""
        lines.append(f"{track.name} {track_sha256(track)}{absent}\n")
    return hashlib.sha256(name_bytes("".join(lines))).hexdigest()


@cache
def _pieces_sha256(path: Path, size: int, time: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in (0, size // 2, max(size - HASHED, 0)):
            file.seek(start)
            digest.update(file.read(HASHED))
    return digest.hexdigest()
