"""Where estimates come from: a model, files of any program, or a function of yours.

    ModelEstimates(model, settings)     ─┐
    FileEstimates(folder, stems)        ─┼─ (track) ──▶ (stems, channels, samples)
    FunctionEstimates(function, stems)  ─┘

Each says what it is, for the records, and what makes its estimate of a track another
one than last time. An estimate must fit its track: nothing is resampled, cut or moved
unless `align` asks for it, and then the lag is told. Notebook: 04.
"""

import hashlib
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor, nn

from mssedu.audio.tensors import audio_info, load_audio, match_channels, resample
from mssedu.data.track import Track
from mssedu.errors import (
    AudioFileError,
    DatasetError,
    InputError,
    MssEduWarning,
    check_finite,
    message,
)
from mssedu.models.contract import ModelConfig, config_of, grouping_of, settle_segment
from mssedu.models.stems import parse_stem, stem_names
from mssedu.separation.config import SeparateConfig
from mssedu.separation.refine import output_stems
from mssedu.separation.tensors import separate
from mssedu.weights.checkpoint import weights_sha256

TEMPLATE = "{track}/{stem}.wav"


class Estimates(Protocol):
    """Gives the estimates of a track."""

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the estimates, in order."""
        ...

    @property
    def grouping(self) -> tuple[str, ...]:
        """What each of them is made of, as in `mssedu.models.stems`."""
        ...

    @property
    def about(self) -> dict[str, Any]:
        """What gives the estimates, as JSON can hold it."""
        ...

    def check(self, track: Track, align: bool) -> None:
        """Raise an error if the track cannot be estimated, without computing it."""
        ...

    def identity(self, track: Track) -> Any:
        """What changes if the estimate changes; None if only computing it can tell."""
        ...

    def __call__(self, track: Track) -> Tensor:
        """The estimates, (stems, channels, samples) on the CPU."""
        ...


class ModelEstimates:
    """What a model separates.

    Args:
        model: follows the contract.
        settings: of `mssedu.separate`.
    """

    def __init__(self, model: nn.Module, settings: dict[str, Any]) -> None:
        self.model, self.settings = model, dict(settings)
        self.config = config_of(model)
        device = self.settings.pop("device", None)
        if device is not None:
            model.to(device)
        checked = SeparateConfig.of(self.settings)
        self.grouping = output_grouping(model, checked)
        self.stems = stem_names(self.grouping)
        self.rest_is_exact = checked.two_stems and checked.other == "minus"
        settle_segment(self.config, self.settings)  # announced once, not for each song

    @cached_property
    def about(self) -> dict[str, Any]:
        """Class, config, weights and settings."""
        return {
            "model": type(self.model).__name__,
            "config": repr(self.config),
            "weights_sha256": weights_sha256(self.model),
            "settings": {
                name: _as_json(value)
                for name, value in asdict(SeparateConfig.of(self.settings)).items()
            },
        }

    def check(self, track: Track, align: bool) -> None:
        """Warn of another sample rate or number of channels: both are converted."""
        got, wanted = _format(track), _format(self.config)
        if got != wanted:
            text = (
                f"the songs have {got}, the model takes {wanted}: its mixtures are "
                f"converted, and its estimates are converted back and scored at {got}"
            )
            warnings.warn(text, MssEduWarning, stacklevel=2)

    def identity(self, track: Track) -> Any:
        """The same for all tracks."""
        return self.about

    def __call__(self, track: Track) -> Tensor:
        mixture = track.mixture()
        if _format(track) == _format(self.config):
            return separate(self.model, mixture, **self.settings).cpu()
        ours, theirs = self.config.sample_rate, track.sample_rate
        heard = match_channels(resample(mixture, theirs, ours), self.config.channels)
        estimate = separate(self.model, heard, **self.settings).cpu()
        estimate = resample(match_channels(estimate, track.channels), ours, theirs)
        estimate = F.pad(estimate, (0, track.n_samples - estimate.shape[-1]))
        if self.rest_is_exact:
            estimate[1] = mixture - estimate[0]
        return estimate


@dataclass(frozen=True)
class FileEstimates:
    """Stems that lie on disk, made by any program.

    Raises:
        InputError: a template without {track} and {stem}, or with other names.
        DatasetError: no such folder.
    """

    folder: Path
    stems: tuple[str, ...]
    template: str = TEMPLATE
    groups: tuple[str, ...] = ()  # what each stem is made of; by its name if empty

    @property
    def grouping(self) -> tuple[str, ...]:
        """What each stem is made of, as in `mssedu.models.stems`."""
        return self.groups or self.stems

    def __post_init__(self) -> None:
        pairs = [("a", "b"), ("c", "b"), ("a", "d")]  # each must have its own file
        try:
            named = {self.template.format(track=t, stem=s) for t, s in pairs}
        except (KeyError, IndexError, ValueError):  # unknown {name}, lone {
            named = set()
        if len(named) < len(pairs):
            remedy = f"The default is {TEMPLATE}."
            wanted = "a path with {track} and {stem}"
            text = message("template", wanted, repr(self.template), remedy)
            raise InputError(text)
        if not self.folder.is_dir():
            where, remedy = str(self.folder.absolute()), "Check the spelling."
            wanted = "a folder of estimates"
            raise DatasetError(message(where, wanted, "no such folder", remedy))

    @property
    def about(self) -> dict[str, Any]:
        """The template; files are told apart by their content, not by their place."""
        return {"files": self.template}

    def path(self, track: Track, stem: str) -> Path:
        """Where a stem of a track must lie."""
        return self.folder / self.template.format(track=track.name, stem=stem)

    def check(self, track: Track, align: bool) -> None:
        """Raise an error for files that are missing or do not fit the track."""
        paths = [self.path(track, stem) for stem in self.stems]
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            seen = sorted(entry.name for entry in self.folder.iterdir())[:5]
            got = f"none at {', '.join(missing)}; {self.folder} holds {seen}"
            remedy = "Check the template, and that all tracks were separated."
            where = f"evaluate {track.name}"
            raise AudioFileError(message(where, "its estimates", got, remedy))
        for path in paths:
            info = audio_info(path)
            form = (info.sample_rate, info.channels, info.samples)
            wanted = (track.sample_rate, track.channels, track.n_samples)
            fits = form[:2] == wanted[:2] if align else form == wanted
            if not fits:
                remedy = "Convert it; where it only begins or ends elsewhere: align."
                text = f"{_form(*wanted)} as {_place(track)}"
                raise InputError(message(str(path), text, _form(*form), remedy))

    def identity(self, track: Track) -> Any:
        """Hashes of the files."""
        return {stem: file_sha256(self.path(track, stem)) for stem in self.stems}

    def __call__(self, track: Track) -> Tensor:
        audio = []
        for path in (self.path(track, stem) for stem in self.stems):
            audio.append(load_audio(path)[0])
            check_finite(str(path), audio[-1], track.sample_rate)
        longest = max(stem.shape[-1] for stem in audio)
        return torch.stack([F.pad(s, (0, longest - s.shape[-1])) for s in audio])


@dataclass(frozen=True)
class FunctionEstimates:
    """What a function gives; nothing is known about it, so it is asked every time."""

    function: Callable[[Track], Tensor]
    stems: tuple[str, ...]
    groups: tuple[str, ...] = ()  # as in `FileEstimates`

    @property
    def grouping(self) -> tuple[str, ...]:
        """What each stem is made of, as in `mssedu.models.stems`."""
        return self.groups or self.stems

    @property
    def about(self) -> dict[str, Any]:
        """Its name."""
        return {"function": getattr(self.function, "__name__", "unnamed")}

    def check(self, track: Track, align: bool) -> None:
        """Nothing is known before it is called."""

    def identity(self, track: Track) -> Any:
        """Unknown."""
        return None

    def __call__(self, track: Track) -> Tensor:
        return self.function(track).cpu()


def output_grouping(model: nn.Module, config: SeparateConfig) -> tuple[str, ...]:
    """What a model's outputs are made of, in stems of a song; see `mssedu.models.stems`.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> model = create_model("spleeter", "tiny", stems=["band=drums+bass"])
        >>> output_grouping(model, SeparateConfig(two_stems="band"))
        ('band=drums+bass', 'no_band')
    """
    stems = tuple(config_of(model).stems)
    made_of = dict(zip(stems, grouping_of(model), strict=True))
    outputs = output_stems(config, stems)
    return tuple(made_of.get(parse_stem(text).name, text) for text in outputs)


def fitted(
    track: Track, references: Tensor, estimates: Tensor, align: bool
) -> tuple[Tensor, int]:
    """Estimates that fit the references, and by how much they came too late.

    Args:
        track: for messages.
        references: (stems, channels, samples).
        estimates: the same shape; with `align` of any length.
        align: find the lag and take it out; what is then missing is silence.

    Returns:
        estimates, and the lag in samples; 0 without `align`.

    Raises:
        InputError: another shape, NaN or Inf.
    """
    known = -1 if align else references.ndim
    if estimates.shape[:known] != references.shape[:known]:
        got = f"{tuple(estimates.shape)}, (stems, channels, samples)"
        wanted = f"estimates {tuple(references.shape)} as its true stems"
        remedy = "Give all stems in order; where only the length differs: align."
        raise InputError(message(f"evaluate {track.name}", wanted, got, remedy))
    check_finite(f"evaluate {track.name}, estimate", estimates, track.sample_rate)
    if not align:
        return estimates, 0
    lag = find_lag(reference=references, estimate=estimates)
    begin, end = max(lag, 0), lag + references.shape[-1]
    kept = estimates[..., begin : max(end, begin)]
    before = begin - lag
    missing = references.shape[-1] - before - kept.shape[-1]
    return F.pad(kept, (before, missing)), lag


def find_lag(*, reference: Tensor, estimate: Tensor) -> int:
    """Samples by which the estimate comes too late: the peak of the cross-correlation.

    All stems are looked at together, as one program delays them all alike.

    Args:
        reference: (stems, channels, samples).
        estimate: (stems, channels, any samples).

    Example:
        >>> reference = torch.randn(1, 1, 100)
        >>> find_lag(reference=reference, estimate=F.pad(reference, (7, 0)))
        7
    """
    ends = reference.shape[-1], estimate.shape[-1]
    n_fft = next_fast_len(sum(ends), real=True)
    spectra = torch.zeros(n_fft // 2 + 1, dtype=torch.complex128)
    for s, e in zip(reference.double(), estimate.double(), strict=True):
        s, e = torch.fft.rfft(s, n_fft), torch.fft.rfft(e, n_fft)
        spectra += (s.conj() * e).sum(0)
    correlation = torch.fft.irfft(spectra, n_fft)
    lag = int(correlation.argmax()) if correlation.any() else 0
    return lag if lag < ends[1] else lag - n_fft


def content_sha256(track: Track) -> str:
    """Hash of the files, or of the samples, of all parts of a track: what it truly is.

    Neither place nor time of the files counts, so that two machines agree.
    """
    digest = hashlib.sha256(f"{track.name} {track.sample_rate}".encode())
    for file in sorted(track.files, key=lambda file: (file.stem, file.stream)):
        line = f"{file.stem} {file.stream} {file_sha256(file.path)}"
        digest.update(line.encode())
    if not track.files:
        for part, audio in sorted((track.audio or {}).items()):
            digest.update(part.encode() + repr(tuple(audio.shape)).encode())
            digest.update(audio.contiguous().numpy().data)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Hash of a file; not read again while it has the same size and time."""
    stat = path.stat()
    return _file_sha256(path, stat.st_size, stat.st_mtime_ns)


@cache
def _file_sha256(path: Path, size: int, time: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _as_json(value: Any) -> Any:
    """A setting as JSON gives it back: it has no tuples and no infinity."""
    if isinstance(value, tuple):
        return list(value)
    return str(value) if value == math.inf else value


def _format(sound: Track | ModelConfig) -> str:
    """Of a track, or of what a model takes, in words."""
    return f"{sound.sample_rate} Hz × {sound.channels}"


def _form(sample_rate: int, channels: int, samples: int) -> str:
    return f"{sample_rate} Hz, {channels} channels, {samples} samples"


def _place(track: Track) -> str:
    """Where the track is from, for a message."""
    return str(track.files[0].path) if track.files else f"the track {track.name!r}"
