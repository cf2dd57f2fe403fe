"""What a notebook calls: set up, play a sound, show the source of the package.

    setup()                              seeds, figure style, profile
    play(audio, sample_rate, label)      an audio player that tells level and length
    show_source("mssedu.spectral.stft")  the real code, with its place

Every text these leave in a notebook is the same on every machine, so that nbval can
compare it. `python -m mssedu.course.build` turns notebooks/py into notebooks.
"""

import base64
import contextlib
import html
import importlib
import inspect
import io
import os
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mssedu
from mssedu.audio.tensors import peak_db
from mssedu.course.exercises import Page
from mssedu.errors import InputError, check_finite, check_name, message
from mssedu.figures.sound import COLORS, STYLE

PROFILES = ("smoke", "cpu", "gpu")  # how much a notebook computes: ≤ 1, 5, 15 minutes
LONGEST_PLAYED = 30.0  # seconds; a longer sound makes the browser slow
LONGEST_SHOWN = 60  # lines of source: what fits on a screen


@dataclass(frozen=True, repr=False)
class Session:
    """What `setup` decided: the profile (smoke, cpu or gpu) and the seed."""

    profile: str
    seed: int

    def __repr__(self) -> str:
        return f"mssedu {mssedu.__version__}, profile {self.profile}, seed {self.seed}"


def profile() -> str:
    """How much to compute: the environment variable MSSEDU_PROFILE, or cpu.

    Raises:
        InputError: MSSEDU_PROFILE names no profile.
    """
    where = "MSSEDU_PROFILE"
    return check_name("profile", os.environ.get(where, "cpu"), PROFILES)


def setup(seed: int = 0) -> Session:
    """Make a notebook repeatable: seed torch, choose the profile, set the figure style.

    Raises:
        InputError: MSSEDU_PROFILE names no profile.

    Example:
        >>> setup().seed
        0
    """
    from cycler import cycler
    from IPython import get_ipython
    from matplotlib import pyplot as plt

    session = Session(profile(), seed)
    torch.manual_seed(seed)
    if (shell := get_ipython()) is not None:  # so that a Figure shows as a picture
        shell.run_line_magic("matplotlib", "inline")
    plt.rcParams.update(STYLE)
    plt.rcParams["axes.prop_cycle"] = cycler(color=list(COLORS.values()))
    return session


@dataclass(frozen=True, repr=False)
class Player:
    """A sound in a notebook: one line of text, and in a browser an audio player."""

    text: str
    flac: bytes

    def __repr__(self) -> str:
        return f"▶ {self.text}"

    def _repr_html_(self) -> str:
        text = html.escape(self.text)
        source = f"data:audio/flac;base64,{base64.b64encode(self.flac).decode()}"
        return (
            f'<figure style="margin: 0.3em 0"><figcaption>{text}</figcaption>'
            f'<audio controls aria-label="{text}" src="{source}"></audio></figure>'
        )


def play(audio: Tensor, sample_rate: int, label: str = "") -> Player:
    """A player for a sound, at its true level: nothing is normalized.

    The sound travels as 16-bit FLAC, without loss. Samples beyond full scale are cut
    off, as in any sound card, and the text counts them.

    Args:
        audio: (channels, samples), mono or stereo; 30 s are played at most.
        sample_rate: Hz.
        label: what it is, the first words of the text.

    Raises:
        InputError: another shape, or NaN or Inf values.

    Example:
        >>> play(torch.full((2, 44100), 0.5), 44100, "half scale")
        ▶ half scale: 1.0 s, stereo, 44100 Hz, peak -6.0 dBFS
    """
    import soundfile

    if audio.ndim != 2 or audio.shape[0] not in (1, 2) or not audio.shape[1]:
        remedy = "For one channel use audio[None]; for more, choose two."
        wanted = "audio (channels 1 or 2, samples ≥ 1)"
        raise InputError(message("play", wanted, tuple(audio.shape), remedy))
    audio = audio.detach().cpu().float()
    check_finite("play", audio, sample_rate)
    played = audio[:, : round(LONGEST_PLAYED * sample_rate)]
    file = io.BytesIO()
    samples = played.clamp(-1, 1).T.numpy()
    soundfile.write(file, samples, sample_rate, format="FLAC", subtype="PCM_16")
    text = _describe(audio, played, sample_rate)
    return Player(f"{label}: {text}" if label else text, file.getvalue())


def _describe(audio: Tensor, played: Tensor, sample_rate: int) -> str:
    seconds = f"{audio.shape[1] / sample_rate:.1f} s"
    if played.shape[1] < audio.shape[1]:
        seconds = f"the first {LONGEST_PLAYED:.1f} of {seconds}"
    channels = ("mono", "stereo")[audio.shape[0] - 1]
    level = f"peak {float(peak_db(played)):.1f} dBFS" if played.any() else "silent"
    clipped = int((played.abs() > 1).sum())
    warning = f", {clipped} samples clipped" if clipped else ""
    return f"{seconds}, {channels}, {sample_rate} Hz, {level}{warning}"


def show_source(name: str) -> Page:
    """The source of a function, method or class of the package, and where it lies.

    Args:
        name: dotted, such as "mssedu.spectral.stft".

    Raises:
        InputError: no such name, or more than 60 lines.
    """
    found = _resolve(name)
    lines, first = inspect.getsourcelines(found)
    if len(lines) > LONGEST_SHOWN:
        wanted = f"at most {LONGEST_SHOWN} lines"
        remedy = "Show one of its methods or parts."
        raise InputError(message("show_source", wanted, len(lines), remedy))
    package = Path(mssedu.__file__).parent
    file = Path(inspect.getfile(found)).relative_to(package.parent).as_posix()
    code = textwrap.dedent("".join(lines))
    return Page(f"`{file}:{first}`\n\n```python\n{code.rstrip()}\n```")


def _resolve(name: str) -> Any:
    """The object of a dotted name: the longest module in front, attributes after it."""
    parts = name.split(".")
    if parts[0] != "mssedu" or len(parts) < 2:
        remedy = "Write it in full, such as mssedu.spectral.stft."
        raise InputError(message("show_source", "a name in mssedu", repr(name), remedy))
    found: Any = mssedu
    depth = 1
    for end in range(len(parts) - 1, 1, -1):
        with contextlib.suppress(ModuleNotFoundError):
            found = importlib.import_module(".".join(parts[:end]))
            depth = end
            break
    for end in range(depth, len(parts)):
        if not hasattr(found, parts[end]):
            where = ".".join(parts[:end])
            names = [n for n in dir(found) if not n.startswith("_")]
            check_name(f"name in {where}", parts[end], names)
        found = getattr(found, parts[end])
    return found
