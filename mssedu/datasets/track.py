"""A song with its stems, read from disk only where it is listened to.

    stems on disk ──stem(name, start, duration)──▶ (channels, samples)
                  ──sources(start, duration)─────▶ (stems, channels, samples)
                  ──mixture(start, duration)─────▶ (channels, samples)

Positions are seconds; sample n = round(seconds · sample_rate), so the same seconds
always mean the same samples. A track is a frozen value: opening a data set of hours
costs no memory, and worker processes receive it whole. Notebook: 01.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from mssedu.audio import load_audio
from mssedu.checks import AudioFileError, InputError, check_name, check_range, message

MIXTURE = "mixture"  # the part that is no stem


@dataclass(frozen=True)
class StemFile:
    """Where the audio of one stem (or of the mixture) lies: a file and its stream."""

    stem: str
    path: Path
    stream: int = 0  # which audio stream of the file; .stem.mp4 has five


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
        unread = set(self.stems) - ({*self._parts(), *self.silent} - {MIXTURE})
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

    def stem(
        self, name: str, start: float = 0.0, duration: float | None = None
    ) -> Tensor:
        """Audio of one stem, (channels, samples).

        Args:
            name: one of `stems`.
            start: first second, 0 up to the track's duration.
            duration: seconds, clipped to the end of the track; to the end if None.

        Raises:
            InputError: an unknown stem, or a position outside the track.
            AudioFileError: a file that cannot be read or is shorter than it says.
        """
        check_name(f"Track {self.name!r}", "stem", name, self.stems)
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
        """What one hears, (channels, samples): all stems, also those not selected."""
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
        """The same song with other stems; what it sounds like stays.

        Args:
            stems: names to select and order, or new name -> stems to be summed, such as
                {"vocals": ["vocals"], "accompaniment": ["drums", "bass", "other"]}.

        Raises:
            InputError: an unknown stem, one stem in two groups, or a new name that
                belongs to a stem outside the group.
        """
        pairs = (
            stems.items() if isinstance(stems, Mapping) else [(s, [s]) for s in stems]
        )
        groups = [(new, tuple(members)) for new, members in pairs]
        rename = self._renaming(groups)
        files = (replace(f, stem=rename.get(f.stem, f.stem)) for f in self.files)
        audio: dict[str, Tensor] = {}
        for part, samples in (self.audio or {}).items():
            new = rename.get(part, part)
            audio[new] = audio[new] + samples if new in audio else samples
        silent = (new for new, members in groups if set(members) <= set(self.silent))
        return replace(
            self,
            stems=tuple(new for new, _ in groups),
            files=tuple(files),
            silent=tuple(silent),
            audio=None if self.audio is None else audio,
        )

    def _renaming(self, groups: list[tuple[str, tuple[str, ...]]]) -> dict[str, str]:
        """Old stem -> new stem, checked."""
        where = f"Track {self.name!r}"
        known = {*self._parts(), *self.silent} - {MIXTURE}
        rename: dict[str, str] = {}
        for new, members in groups:
            for stem in members:
                check_name(where, "stem", stem, known)
                if stem in rename:
                    got = f"{stem!r} in {rename[stem]!r} and in {new!r}"
                    remedy = "Name it once."
                    raise InputError(message(where, "disjoint groups", got, remedy))
                rename[stem] = new
        taken = sorted((known - rename.keys()) & {new for new, _ in groups})
        if taken:
            wanted = "new names that no stem outside the groups has"
            raise InputError(message(where, wanted, taken, "Choose another name."))
        return rename

    def _parts(self) -> tuple[str, ...]:
        """Names of all that can be read: stems with audio and perhaps the mixture."""
        if self.audio is not None:
            return tuple(self.audio)
        return tuple(dict.fromkeys(file.stem for file in self.files))

    def _span(self, start: float, duration: float | None) -> tuple[int, int]:
        """First sample and number of samples of a stretch given in seconds."""
        where = f"Track {self.name!r}"
        check_range(where, "start", start, 0, self.duration, high_open=True)
        # The last half sample would round to the end, where nothing is left to read.
        first = min(round(start * self.sample_rate), self.n_samples - 1)
        left = self.n_samples - first
        if duration is None:
            return first, left
        check_range(where, "duration", duration, 1 / self.sample_rate)
        return first, round(min(duration * self.sample_rate, left))

    def _read(self, part: str, first: int, length: int) -> Tensor:
        """Samples first … first + length of a part; the caller may write to them."""
        if part in self.silent:
            return torch.zeros(self.channels, length)
        if self.audio is not None:
            return self.audio[part][:, first : first + length].clone()
        files = [file for file in self.files if file.stem == part]
        return torch.stack([self._load(f, first, length) for f in files]).sum(0)

    def _load(self, file: StemFile, first: int, length: int) -> Tensor:
        audio, _ = load_audio(
            file.path,
            start_seconds=first / self.sample_rate,
            duration_seconds=length / self.sample_rate,
            stream=file.stream,
        )
        if audio.shape != (self.channels, length):
            where, wanted = str(file.path), (self.channels, length)
            remedy = "The file is damaged or has changed; load the data set again."
            expected = f"{wanted} (channels, samples) from sample {first} on"
            raise AudioFileError(message(where, expected, tuple(audio.shape), remedy))
        return audio
