"""The errors of the package, and the checks that many functions share.

A text says what is wrong with the value as the user gave it, what is allowed, and one
remedy: ``overlap must be from 0 to 1 (1 excluded), got 1.5.`` Inside the package,
``assert`` guards what only a mistake of ours can break.

    MssEduError           what a user can solve; the CLI prints it without a traceback
    ├── InputError        wrong value, shape or name            (also a ValueError)
    ├── AudioFileError    a file that cannot be read or written (also an OSError)
    ├── DatasetError      a folder that is not a data set       (also a ValueError)
    ├── CheckpointError   weights that do not fit               (also a RuntimeError)
    ├── SetupError        a missing package, device or driver   (also a RuntimeError)
    ├── DiskError         too little room on a disk             (also an OSError)
    └── DownloadError     an address that gives no such file    (also an OSError)
    MssEduWarning         what a user should know, such as a segment that was shortened
"""

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, SupportsFloat, SupportsIndex

if TYPE_CHECKING:  # so that `mssedu --help` starts without torch
    from torch import Tensor


class MssEduError(Exception):
    """Base of all errors that a user can solve; the CLI returns `exit_code`."""

    exit_code = 1


class MssEduWarning(UserWarning):
    """What a user should know; the CLI prints it as one line."""


class InputError(MssEduError, ValueError):
    """A value, shape or name that is outside what the function accepts."""

    exit_code = 2


class AudioFileError(MssEduError, OSError):
    """An audio file that cannot be read or written."""


class DatasetError(MssEduError, ValueError):
    """A folder that is not a usable data set."""

    exit_code = 2


class CheckpointError(MssEduError, RuntimeError):
    """Weights that are damaged or belong to another configuration."""

    exit_code = 2


class SetupError(MssEduError, RuntimeError):
    """A package, device or driver that this machine lacks."""

    exit_code = 3


class DiskError(MssEduError, OSError):
    """A disk that has too little room for a result."""


class DownloadError(MssEduError, OSError):
    """An address that cannot be reached, or that gives another file than the right."""

    exit_code = 3


def check_name(kind: str, name: str, known: Iterable[str], *, where: str = "") -> str:
    """Return `name` if it is one of `known`, else raise InputError.

    Args:
        kind: what is named, such as "model" or the name of an argument.
        name: as the user wrote it.
        known: all names there are.
        where: the file or song that contains the name, if there is one.

    Example:
        >>> check_name("model", "spleter", ["open_unmix", "spleeter"])
        Traceback (most recent call last):
        mssedu.errors.InputError: unknown model 'spleter'. Did you mean 'spleeter'? ...
    """
    known = sorted(known)
    if name in known:
        return name
    near = _nearest(str(name), known)
    hint = "" if near is None else f" Did you mean {near!r}?"
    choices = f" Choose one of: {', '.join(known)}." if known else " There is none."
    raise InputError(f"{_at(where)}unknown {kind} {name!r}.{hint}{choices}")


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def _nearest(word: str, known: list[str]) -> str | None:
    """The name that a word most likely stands for, upper and lower case alike.

    That is the shortest name that contains the word, else the longest that the word
    contains, else the most similar one. Part of a word means two letters at least.
    """
    word = word.casefold()
    folded = {name: name.casefold() for name in known}
    if len(word) >= 2 and (longer := [n for n in known if word in folded[n]]):
        return min(reversed(longer), key=len)  # of equals the last, as difflib does
    shorter = [n for n in known if len(n) >= 2 and folded[n] in word]
    if shorter:
        return max(shorter, key=len)
    near = difflib.get_close_matches(word, folded.values(), n=1, cutoff=0.4)
    return next((n for n in known if near and folded[n] == near[0]), None)


def check_range(
    name: str,
    value: float,
    low: float,
    high: float = math.inf,
    *,
    low_open: bool = False,
    high_open: bool = False,
    where: str = "",
) -> None:
    """Raise InputError unless low ≤ value ≤ high; an open end is excluded.

    Example:
        >>> check_range("overlap", 1.5, 0, 1, high_open=True)
        Traceback (most recent call last):
        mssedu.errors.InputError: overlap must be from 0 to 1 (1 excluded), got 1.5.
    """
    # An exporter traces sizes as numbers that have no float, but an index.
    if isinstance(value, str) or not isinstance(value, SupportsFloat | SupportsIndex):
        raise InputError(f"{_at(where)}{name} must be a number, got {value!r}.")
    above = value > low if low_open else value >= low
    below = value < high if high_open else value <= high
    if above and below:
        return
    if high == math.inf:
        finite = "finite and " if high_open else ""
        span = f"{finite}{'greater than' if low_open else 'at least'} {low:g}"
    else:
        ends = [f"{low:g}"] * low_open + [f"{high:g}"] * high_open
        excluded = f" ({' and '.join(ends)} excluded)" if ends else ""
        span = f"from {low:g} to {high:g}{excluded}"
    raise InputError(f"{_at(where)}{name} must be {span}, got {value}.")


def check_tensor(name: str, value: object) -> None:
    """Raise InputError unless a value is a torch.Tensor.

    Example:
        >>> check_tensor("mixture", [0.1, 0.2])
        Traceback (most recent call last):
        mssedu.errors.InputError: mixture must be a torch.Tensor, got list. Convert it:
        torch.as_tensor(mixture).
    """
    from torch import Tensor

    if isinstance(value, Tensor):
        return
    remedy = f"Convert it: torch.as_tensor({name})."
    if isinstance(value, tuple):
        remedy = "load_audio returns audio and sample_rate: give the audio alone."
    raise InputError(
        f"{name} must be a torch.Tensor, got {type(value).__name__}. {remedy}"
    )


def check_axes(name: str, tensor: "Tensor", axes: Sequence[str]) -> None:
    """Raise InputError unless a tensor has these axes, each with one entry or more.

    Example:
        >>> check_axes("audio", torch.zeros(1, 2, 100), ("channels", "samples"))
        Traceback (most recent call last):
        mssedu.errors.InputError: audio must be (channels, samples), got the shape
        (1, 2, 100). Drop the first axis: audio[0].
    """
    check_tensor(name, tensor)
    shape, wanted = tuple(tensor.shape), f"({', '.join(axes)})"
    if len(shape) == len(axes) and all(shape):
        return
    if len(shape) == len(axes):
        remedy = f"{name} is empty: its axis {axes[shape.index(0)]} has no entry."
    elif len(shape) == len(axes) + 1:
        remedy = f"Drop the first axis: {name}[0]."
    elif len(shape) == len(axes) - 1:
        remedy = f"Add the axis {axes[0]}: {name}[None]."
    else:
        remedy = f"Reshape it to {len(axes)} axes."
    raise InputError(f"{name} must be {wanted}, got the shape {shape}. {remedy}")


def check_mixture(mixture: "Tensor", channels: int, *, batch: bool = True) -> None:
    """Raise InputError unless a mixture fits a model.

    Args:
        mixture: float, (batch, channels, samples ≥ 1), or without `batch`.
        channels: of the model.
    """
    axes = ("batch", "channels", "samples") if batch else ("channels", "samples")
    check_axes("mixture", mixture, axes)
    if mixture.shape[-2] != channels:
        raise InputError(
            f"the model takes {channels} channels, and the mixture of shape "
            f"{tuple(mixture.shape)} has {mixture.shape[-2]}. Use "
            f"mssedu.audio.match_channels(mixture, {channels})."
        )
    if not mixture.is_floating_point():
        raise InputError(
            f"mixture must be of a float type, got {mixture.dtype}. Use "
            "mixture.float(), scaled to ±1."
        )


def check_finite(name: str, audio: "Tensor", sample_rate: int) -> None:
    """Raise InputError for NaN or Inf in audio (…, samples) of a rate in Hz.

    `name` is that of the argument, the song or the file.
    """
    finite = audio.isfinite()
    if finite.all():
        return
    bad = (~finite).flatten(0, -2).any(0) if audio.ndim > 1 else ~finite
    first = int(bad.nonzero()[0])
    raise InputError(
        f"{name} has {int((~finite).sum())} NaN or Inf values, the first at sample "
        f"{first} ({first / sample_rate:.3f} s). torch.nan_to_num(audio) replaces them."
    )


def missing_package(purpose: str, package: str, install: str) -> SetupError:
    """The error to raise for an optional package that is not installed.

    Example:
        >>> raise missing_package("reading .m4a files", "av", "pip install av")
        Traceback (most recent call last):
        mssedu.errors.SetupError: reading .m4a files needs the package av. Install it
        with: pip install av
    """
    return SetupError(
        f"{purpose} needs the package {package}. Install it with: {install}"
    )
