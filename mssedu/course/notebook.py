"""What a notebook calls: set up, play a sound, show the source of the package.

    setup()                              seed, figure style, profile
    play(audio, sample_rate, label)      an audio player that shows length and level
    show_source("mssedu.spectral.stft")  the real code, with its file and line

Each text that these put into a notebook is the same on every machine, so that nbval can
compare it. `python -m mssedu.course.build` turns notebooks/py into notebooks.
"""

import base64
import functools
import html
import importlib
import importlib.util
import inspect
import os
import pkgutil
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mssedu
from mssedu.audio.tensors import peak_db
from mssedu.audio.writer import player_file
from mssedu.course.exercises.kinds import Page
from mssedu.errors import InputError, check_axes, check_finite, check_name
from mssedu.figures.style import COLORS, STYLE

PROFILES = ("smoke", "cpu", "gpu")  # how much a notebook computes: ≤ 1, 5, 15 minutes
LONGEST_PLAYED = 600.0  # seconds; a longer sound makes the notebook slow
LONGEST_SHOWN = 60  # lines of source: what fits on a screen


# ---- set up -------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Session:
    """The profile (smoke, cpu or gpu) and the seed that `setup` has set."""

    profile: str
    seed: int

    @property
    def device(self) -> str:
        """Where models are trained: cuda with the profile gpu, else cpu."""
        return "cuda" if self.profile == "gpu" else "cpu"

    def __repr__(self) -> str:
        text = f"mssedu {mssedu.__version__}, profile {self.profile}, seed {self.seed}"
        if self.profile != _wanted_profile():
            text += ". PyTorch finds no CUDA device, so the profile gpu is not possible"
        if self.profile != "cpu":
            text += ". The numbers in the text are those of the profile cpu"
        return text


def _wanted_profile() -> str:
    """The profile of the environment variable MSSEDU_PROFILE, or cpu.

    Raises:
        InputError: MSSEDU_PROFILE is not the name of a profile.
    """
    value = os.environ.get("MSSEDU_PROFILE", "cpu")
    return check_name("MSSEDU_PROFILE", value, PROFILES)


def profile() -> str:
    """How much to compute: the wanted profile, or cpu for gpu without a CUDA device.

    Raises:
        InputError: MSSEDU_PROFILE is not the name of a profile.
    """
    wanted = _wanted_profile()
    return "cpu" if wanted == "gpu" and not torch.cuda.is_available() else wanted


def setup(seed: int = 0) -> Session:
    """Make a notebook repeatable: seed torch, choose the profile, set the figure style.

    Raises:
        InputError: MSSEDU_PROFILE is not the name of a profile.

    Example:
        >>> setup().seed
        0
    """
    from cycler import cycler
    from IPython import get_ipython
    from matplotlib import pyplot as plt

    session = Session(profile(), seed)
    torch.manual_seed(seed)
    shell = get_ipython()
    if hasattr(shell, "kernel"):  # Jupyter: so that a Figure is shown as an image
        shell.run_line_magic("matplotlib", "inline")
    plt.rcParams.update(STYLE)
    plt.rcParams["axes.prop_cycle"] = cycler(color=list(COLORS.values()))
    return session


# ---- play ---------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Player:
    """A sound in a notebook: one line of text, and in a browser an audio player."""

    text: str
    file: bytes
    kind: str  # flac or mpeg

    def __repr__(self) -> str:
        return f"▶ {self.text}"

    def _repr_html_(self) -> str:
        text = html.escape(self.text)
        content = base64.b64encode(self.file).decode()
        source = f"data:audio/{self.kind};base64,{content}"
        return (
            f'<figure style="margin: 0.3em 0"><figcaption>{text}</figcaption>'
            f'<audio controls aria-label="{text}" src="{source}"></audio></figure>'
        )


def play(audio: Tensor, sample_rate: int, label: str = "") -> Player:
    """A player for a sound, at its true level: nothing is normalized.

    Up to 30 s are stored as 16-bit FLAC, without loss. A longer sound becomes an MP3,
    and the text says so: use `ABSwitch` to judge small differences. Samples beyond full
    scale are clipped, as in any sound card, and the text counts them.

    Args:
        audio: (channels, samples), mono or stereo; 10 min are played at most.
        sample_rate: Hz.
        label: name of the sound, the first words of the text.

    Raises:
        InputError: another shape, or NaN or Inf values.

    Example:
        >>> play(torch.full((2, 44100), 0.5), 44100, "half scale")
        ▶ half scale: 1.0 s, stereo, 44100 Hz, peak -6.0 dBFS
    """
    check_axes("audio", audio, ("channels", "samples"))
    if audio.shape[0] > 2:
        shown = f"audio must have 1 or 2 channels, got {audio.shape[0]}"
        raise InputError(f"{shown}. Choose two, such as audio[:2].")
    audio = audio.detach().cpu().float()
    check_finite("audio", audio, sample_rate)
    played = audio[:, : round(LONGEST_PLAYED * sample_rate)]
    seconds = f"{audio.shape[1] / sample_rate:.1f} s"
    if played.shape[1] < audio.shape[1]:
        seconds = f"the first {LONGEST_PLAYED:.1f} of {seconds}"
    channels = ("mono", "stereo")[audio.shape[0] - 1]
    level = f"peak {float(peak_db(played)):.1f} dBFS" if played.any() else "silent"
    clipped = int((played.abs() > 1).sum())
    warning = f", {clipped} samples clipped" if clipped else ""
    text = f"{seconds}, {channels}, {sample_rate} Hz, {level}{warning}"
    text = f"{label}: {text}" if label else text
    file, kind = player_file(played, sample_rate)
    if kind == "mpeg":
        text += ", compressed as MP3: do not judge small differences"
    return Player(text, file, kind)


# ---- show source --------------------------------------------------------------------


def show_source(name: str) -> Page:
    """The source of a function, method or class of the package, with its file and line.

    Args:
        name: dotted, such as "mssedu.spectral.stft"; through the door of a folder, such
            as "mssedu.metrics.usdr", or through the file that defines it.

    Raises:
        InputError: no such name, no function, method or class, or more than 60 lines.
    """
    shown = _resolve(name)
    if not inspect.isroutine(shown) and not inspect.isclass(shown):
        kind = type(shown).__name__
        raise InputError(f"{name} is a {kind}. Choose a function, a method or a class.")
    lines, first = inspect.getsourcelines(shown)
    if len(lines) > LONGEST_SHOWN:
        most = f"{len(lines)} lines, and at most {LONGEST_SHOWN} can be shown"
        raise InputError(f"{name} has {most}. Choose one of its methods or parts.")
    package = Path(mssedu.__file__).parent
    file = Path(inspect.getfile(shown)).relative_to(package.parent).as_posix()
    code = textwrap.dedent("".join(lines))
    return Page(f"`{file}:{first}`\n\n```python\n{code.rstrip()}\n```")


def _resolve(name: str) -> Any:
    """The object of a dotted name, without its decorators."""
    parts = name.split(".")
    if parts[0] != "mssedu" or len(parts) < 2:
        unknown = f"{name!r} is not a name in mssedu"
        raise InputError(f"{unknown}. Write it in full, such as mssedu.spectral.stft.")
    found: Any = mssedu
    for end, part in enumerate(parts[1:], 1):
        place = ".".join(parts[:end])
        is_folder = hasattr(found, "__path__")
        if is_folder and importlib.util.find_spec(f"{place}.{part}"):
            found = importlib.import_module(f"{place}.{part}")
        elif hasattr(found, part):
            found = getattr(found, part)
        elif near := _elsewhere(parts, end):
            raise InputError(f"{place} has no {part!r}. Did you mean {near!r}?")
        else:
            check_name(f"name in {place}", part, _own_names(found))
    if isinstance(found, property | functools.cached_property):
        found = found.fget if isinstance(found, property) else found.func
    return inspect.unwrap(found) if callable(found) else found


def _elsewhere(parts: list[str], end: int) -> str | None:
    """A name that a door offers for the parts from `end` on, if a file was renamed."""
    doors = [mssedu]
    for module in pkgutil.walk_packages(mssedu.__path__, "mssedu."):
        if module.ispkg:
            doors.append(importlib.import_module(module.name))
    offered = [f"{door.__name__}.{name}" for door in doors for name in door.__all__]
    for last in range(len(parts) - 1, end - 1, -1):
        same = [name for name in offered if name.endswith(f".{parts[last]}")]
        if same:
            return ".".join([min(same, key=len), *parts[last + 1 :]])
    return None


def _own_names(place: Any) -> list[str]:
    """The public names of a folder, and what a file or a class defines."""
    if hasattr(place, "__path__"):
        return dir(place)
    if not inspect.ismodule(place) and not inspect.isclass(place):
        return []
    module = place.__name__ if inspect.ismodule(place) else place.__module__
    return [
        name
        for name, value in vars(place).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module
    ]
