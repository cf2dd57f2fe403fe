"""Sources of estimates: a model, files of any program, or a function.

    ModelEstimates(model, config)       ─┐
    FileEstimates(folder, stems)        ─┼─ (track) ──▶ (stems, channels, samples)
    FunctionEstimates(function, stems)  ─┘

    stems              names of the estimates, in order
    grouping           the parts of each estimate, as in `mssedu.models.stems`
    about              description for the records, in types that JSON knows
    check(track, …)    raises an error for a track that does not fit, before hours pass
    identity(track)    changes when the estimate changes; None if that is not known

An estimate must fit its track: nothing is resampled, cut or moved unless `align` asks
for it, and then the lag is reported. The track has the stems of `grouping`; of stems
that are absent from it, no estimate is compared. Notebook: 04.
"""

import hashlib
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssedu.audio.files import as_json, file_sha256
from mssedu.audio.names import file_name, name_bytes
from mssedu.audio.tensors import audio_info, load_audio, match_channels, resample
from mssedu.audio.words import counted, sound_size
from mssedu.data.track import Track
from mssedu.errors import (
    AudioFileError,
    DatasetError,
    InputError,
    MssEduWarning,
    check_finite,
)
from mssedu.models.contract import ModelConfig, chunk_seconds, config_of, grouping_of
from mssedu.models.stems import parse_stem, stem_names
from mssedu.separation.config import SeparateConfig
from mssedu.separation.refine import output_stems
from mssedu.separation.tensors import separate_with
from mssedu.weights.checkpoint import weights_sha256

TEMPLATE = "{track}/{stem}.wav"
DEFAULTS = SeparateConfig()


class ModelEstimates:
    """The stems that a model separates.

    Args:
        model: follows the contract.
        separation: how to separate.
        device: where to compute, such as "cuda"; None: where the model is.
    """

    def __init__(
        self,
        model: nn.Module,
        separation: SeparateConfig = DEFAULTS,
        device: torch.device | str | None = None,
    ) -> None:
        self.model, self.device, self.config = model, device, config_of(model)
        self.grouping = output_grouping(model, separation)
        self.stems = stem_names(self.grouping)
        self.rest_is_exact = separation.two_stems and separation.other == "minus"
        # Here, so that a warning of a shortened segment comes once, not for each song.
        strict = separation.strict_segment
        segment = chunk_seconds(self.config, separation.segment, strict=strict)
        self.separation = replace(separation, segment=segment, strict_segment=False)

    @cached_property
    def about(self) -> dict[str, Any]:
        """Class, config, hash of the weights, and settings of the separation."""
        settings = asdict(self.separation)
        finite = {k: "inf" if x == math.inf else x for k, x in settings.items()}
        return {
            "model": type(self.model).__name__,
            "config": repr(self.config),
            "weights_sha256": weights_sha256(self.model),
            "settings": as_json(finite),
        }

    def check(self, track: Track, align: bool) -> None:
        """Warn of another sample rate or number of channels: both are converted.

        Raises:
            InputError: more than two channels, which are not converted.
        """
        counts = {track.channels, self.config.channels}
        if len(counts) == 2 and counts != {1, 2}:
            raise InputError(
                f"{track.name} has {counted(track.channels, 'channel')}, and the model "
                f"takes {self.config.channels}: only mono and stereo are converted. "
                "Write the song with one or two channels."
            )
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
            return self._separate(mixture)
        ours, theirs = self.config.sample_rate, track.sample_rate
        resampled = resample(mixture, theirs, ours)
        estimate = self._separate(match_channels(resampled, self.config.channels))
        estimate = resample(match_channels(estimate, track.channels), ours, theirs)
        estimate = F.pad(estimate, (0, track.n_samples - estimate.shape[-1]))
        if self.rest_is_exact:
            estimate[1] = mixture - estimate[0]
        return estimate

    def _separate(self, mixture: Tensor) -> Tensor:
        settings = self.separation
        return separate_with(self.model, mixture, settings, device=self.device).cpu()


@dataclass(frozen=True)
class FileEstimates:
    """Stems in files, made by any program.

    Of a stem that is absent from a song, no file is needed, and none is read.

    Args:
        folder: of the files.
        stems: names of the estimates, in order.
        template: path of a file in the folder, with {track} and {stem}.
        groups: the parts of each stem, as in `mssedu.models.stems`; empty: the stems.

    Raises:
        InputError: a template without {track} and {stem}, or with other names.
        DatasetError: no such folder.
    """

    folder: Path
    stems: tuple[str, ...]
    template: str = TEMPLATE
    groups: tuple[str, ...] = ()

    @property
    def grouping(self) -> tuple[str, ...]:
        """The parts of each stem."""
        return self.groups or self.stems

    def __post_init__(self) -> None:
        pairs = [("a", "b"), ("c", "b"), ("a", "d")]  # each must have its own file
        try:
            paths = {self.template.format(track=t, stem=s) for t, s in pairs}
        except (KeyError, IndexError, ValueError):  # unknown {name}, single {
            paths = set()
        if len(paths) < len(pairs):
            raise InputError(
                f"template {self.template!r} must be a path with {{track}} and "
                f"{{stem}}. The default is {TEMPLATE}."
            )
        if not self.folder.is_dir():
            raise DatasetError(
                f"{self.folder.absolute()} is no folder of estimates. Choose the "
                "folder that mssedu separate -o, or another program, has written."
            )

    @property
    def about(self) -> dict[str, Any]:
        """The template. Files are identified by their content, not by their folder."""
        return {"files": self.template}

    def path(self, track: Track, stem: str) -> Path:
        """The file of a stem; `StemStore` may have given the track another name."""
        name = track.name
        names = (name, file_name(name), file_name(name, marked=True))
        paths = [self.folder / self.template.format(track=n, stem=stem) for n in names]
        return next((path for path in paths if path.is_file()), paths[0])

    def check(self, track: Track, align: bool) -> None:
        """Raise an error for files that are missing or do not fit the track."""
        paths = [self.path(track, stem) for stem in self._read_of(track)]
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            entries = sorted(entry.name for entry in self.folder.iterdir())[:5]
            raise AudioFileError(
                f"{track.name} has no estimates at {', '.join(missing)}; "
                f"{self.folder} holds {', '.join(entries) or 'nothing'}. Check the "
                "template, and that all tracks were separated."
            )
        wanted = (track.sample_rate, track.channels, track.n_samples)
        n_compared = 2 if align else 3
        for path in paths:
            info = audio_info(path)
            form = (info.sample_rate, info.channels, info.samples)
            if form[:n_compared] != wanted[:n_compared]:
                true = str(track.files[0].path) if track.files else repr(track.name)
                raise InputError(
                    f"{path} has {sound_size(*form)}, and {true} has "
                    f"{sound_size(*wanted)}. "
                    "Convert the file; if it is only longer, shorter or late, use "
                    "--align."
                )

    def identity(self, track: Track) -> Any:
        """Hashes of the files that are read."""
        paths = {stem: self.path(track, stem) for stem in self._read_of(track)}
        return {stem: _hash(path) for stem, path in paths.items()}

    def __call__(self, track: Track) -> Tensor:
        audio = {}
        for stem in self._read_of(track):
            path = self.path(track, stem)
            audio[stem] = load_audio(path)[0]
            check_finite(str(path), audio[stem], track.sample_rate)
        longest = max((a.shape[-1] for a in audio.values()), default=track.n_samples)
        rows = [audio.get(s, torch.zeros(track.channels, 0)) for s in self.stems]
        return torch.stack([F.pad(row, (0, longest - row.shape[-1])) for row in rows])

    def _read_of(self, track: Track) -> list[str]:
        """The stems whose files are read for a track."""
        return [stem for stem in self.stems if stem not in track.absent]


@dataclass(frozen=True)
class FunctionEstimates:
    """The stems that a function returns; it is called again in every evaluation."""

    function: Callable[[Track], Tensor]  # track -> (stems, channels, samples)
    stems: tuple[str, ...]
    groups: tuple[str, ...] = ()  # as in `FileEstimates`

    @property
    def grouping(self) -> tuple[str, ...]:
        """The parts of each stem."""
        return self.groups or self.stems

    @property
    def about(self) -> dict[str, Any]:
        """The name of the function."""
        return {"function": getattr(self.function, "__name__", "unnamed")}

    def check(self, track: Track, align: bool) -> None:
        """Nothing can be checked before the function is called."""

    def identity(self, track: Track) -> Any:
        """None, because it is not known."""
        return None

    def __call__(self, track: Track) -> Tensor:
        return self.function(track).cpu()


def output_grouping(model: nn.Module, config: SeparateConfig) -> tuple[str, ...]:
    """The parts of each output of a model, as in `mssedu.models.stems`.

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


def content_sha256(track: Track) -> str:
    """Hash of the files, or of the samples, of all parts of a track.

    Neither folder nor date of the files counts, so that two machines agree.
    """
    digest = hashlib.sha256(name_bytes(f"{track.name} {track.sample_rate}"))
    for file in sorted(track.files, key=lambda file: (file.stem, file.stream)):
        sha256 = _hash(file.path)
        line = f"{file.stem} {file.stream} {sha256}{file.excerpt}"
        digest.update(name_bytes(line))
    if not track.files:
        for part, audio in sorted((track.audio or {}).items()):
            digest.update(name_bytes(f"{part}{tuple(audio.shape)!r}"))
            digest.update(audio.contiguous().numpy().data)
    return digest.hexdigest()


def _hash(path: Path) -> str:
    """Hash of a file; not read again while it has the same size and time."""
    stat = path.stat()
    return _whole_hash(path, stat.st_size, stat.st_mtime_ns)


@cache
def _whole_hash(path: Path, size: int, time: int) -> str:
    return file_sha256(path)


def _format(sound: Track | ModelConfig) -> str:
    """Sample rate and channels of a track, or of the audio that a model takes."""
    return f"{sound.sample_rate} Hz × {sound.channels}"


Estimates = ModelEstimates | FileEstimates | FunctionEstimates
