"""Checks at the public door: one message form, one small tree of error classes.

Every message reads ``where: expected …, got …. Remedy.`` so that a student sees at
once what was wanted, what came and what to do. Inside the package, ``assert`` guards
invariants that only a bug of ours can break.

    MssEduError           what a user can mend; the CLI prints it without a traceback
    ├── InputError        wrong value, shape or name            (also a ValueError)
    ├── AudioFileError    a file that cannot be read or written (also an OSError)
    ├── DatasetError      a folder that is not a data set       (also a ValueError)
    ├── CheckpointError   weights that do not fit               (also a RuntimeError)
    └── SetupError        a missing package, device or driver   (also a RuntimeError)
    MssEduWarning         what a user should know, such as a segment that was shortened
"""

import difflib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that `mssedu --help` starts without torch
    from torch import Tensor


class MssEduError(Exception):
    """Base of all errors that a user can mend; `exit_code` is what the CLI returns."""

    exit_code = 1


class MssEduWarning(UserWarning):
    """What a user should know and need not mend; the CLI prints it as one line."""


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


def message(where: str, expected: str, got: object, remedy: str) -> str:
    """The one form of every error text of the package.

    Example:
        >>> message("mix", "2 channels", 6, "Pick two of them.")
        'mix: expected 2 channels, got 6. Pick two of them.'
    """
    return f"{where}: expected {expected}, got {got}. {remedy}"


def check_name(where: str, kind: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is one of `known`; else an InputError with the nearest match.

    Example:
        >>> check_name("create_model", "model", "spleeter", ["open_unmix", "spleeter"])
        'spleeter'
    """
    known = sorted(known)
    if name in known:
        return name
    near = _nearest(str(name), known)
    remedy = "Pick one of these." if near is None else f"Did you mean {near!r}?"
    raise InputError(message(where, f"a {kind} of {known}", repr(name), remedy))


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
    where: str,
    name: str,
    value: float,
    low: float,
    high: float = math.inf,
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> None:
    """Raise InputError unless low ≤ value ≤ high (an open end is excluded)."""
    above = value > low if low_open else value >= low
    below = value < high if high_open else value <= high
    if above and below:
        return
    left, right = "(["[not low_open], ")]"[not high_open]
    span = f"{name} in {left}{low:g}, {high:g}{right}"
    raise InputError(message(where, span, value, f"Choose {name} inside this range."))


def check_mixture(where: str, mixture: "Tensor", channels: int) -> None:
    """Raise InputError unless `mixture` is a float (batch, channels, samples ≥ 1)."""
    shape = tuple(mixture.shape)
    wanted = f"a float mixture (batch, {channels}, samples ≥ 1)"
    if mixture.ndim != 3:
        remedy = "Add or remove axes, e.g. mixture[None] for a single excerpt."
    elif shape[1] != channels:
        remedy = f"Use mssedu.audio.match_channels(mixture, {channels})."
    elif shape[2] < 1:
        remedy = "Give at least one sample."
    elif not mixture.is_floating_point():
        remedy = f"Convert with mixture.float(); its dtype is {mixture.dtype}."
    else:
        return
    raise InputError(message(where, wanted, shape, remedy))


def check_finite(where: str, audio: "Tensor", sample_rate: int) -> None:
    """Raise InputError naming the first NaN or Inf of (…, samples), and how many."""
    finite = audio.isfinite()
    if finite.all():
        return
    bad = (~finite).flatten(0, -2).any(0) if audio.ndim > 1 else ~finite
    first = int(bad.nonzero()[0])
    got = (
        f"{int((~finite).sum())} NaN or Inf values, the first at sample {first} "
        f"({first / sample_rate:.3f} s)"
    )
    remedy = "Replace them, e.g. torch.nan_to_num(audio), and find out their origin."
    raise InputError(message(where, "finite samples", got, remedy))


def missing_package(where: str, package: str, install: str) -> SetupError:
    """The error to raise for an optional package that is not installed."""
    remedy = f"Install it with: {install}"
    return SetupError(
        message(where, f"the package {package}", "none installed", remedy)
    )
