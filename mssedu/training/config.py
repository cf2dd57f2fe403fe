"""Settings of a training run and of its model, and how the command line sets them.

    TrainConfig    one frozen dataclass: each field is a flag, its comment is the help
    parse_fields   --set channels=1 n_fft=2048: fields of the model's config

This file needs no torch, so that `mssedu train --help` starts at once. Every checkpoint
has the `TrainConfig` it was trained with, and a recipe is the difference from the
defaults.
"""

import dataclasses
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from mssedu.errors import InputError, check_name, check_range
from mssedu.models.stems import stem_names

SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "bfloat16")
# What a field of a model's config may be on the command line
WORDS = {"true": True, "yes": True, "false": False, "no": False}
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
EXAMPLES = {int: "2", float: "0.5", bool: "true", str: "relu"}

Stems = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="STEM [STEM …]")]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run.

    Raises:
        InputError: a value out of its range, or values that exclude each other.

    Example:
        >>> TrainConfig(model="open_unmix", preset="tiny", steps=2000).batch_size
        4
    """

    # The architecture to train; `mssedu models` lists all names.
    model: str = "spleeter"
    # "paper" is the published size; "tiny" trains on two CPU cores in minutes.
    preset: str = "paper"
    # The stems to estimate, such as vocals, no_vocals or band=drums+bass (see
    # mssedu.models.stems); None takes those of the preset.
    stems: Stems = None
    # The run ends after this many optimizer steps.
    steps: int = 20_000
    # Each step takes this many segments; halve it if memory runs out.
    batch_size: int = 4
    # Each training example has this many seconds; longer ones give more context and
    # take more memory.
    segment: float = 6.0
    # The loss to minimize, by its name in mssedu.training.LOSSES; try thresholded_snr
    # in short runs.
    loss: str = "waveform_l1"
    # The highest step size of Adam; divide it by 3 if the loss becomes NaN.
    learning_rate: float = 1e-3
    # Adam averages the gradient and its square with these two decays.
    betas: tuple[float, float] = (0.9, 0.999)
    # The learning rate first rises linearly for this many steps; try 1000 if training a
    # transformer starts with NaN.
    warmup_steps: int = 0
    # After the warm-up, the learning rate stays constant, or falls to 0 as a cosine.
    schedule: Literal["constant", "cosine"] = "constant"
    # A running average of the weights with this decay is validated and saved; 0 turns
    # it off, try 0.999 in long runs.
    ema_decay: float = 0.0
    # A gradient with a larger L2 norm is scaled down to this norm; 0 turns this off.
    clip_norm: float = 5.0
    # The stems of an example come from different songs and times, with random channel
    # swaps and signs; without it they come from one moment of one song, and only gain
    # and silence vary.
    remix: bool = True
    # Each stem of each song is first brought to this RMS level, in dB; None keeps its
    # level.
    level_db: float | None = None
    # Each stem of an example gets a random gain between these two values, in dB.
    gain_db: tuple[float, float] = (-10.0, 6.0)
    # Each stem of an example is silent with this probability; try 0.1 for stems that
    # songs often lack.
    silence: float = 0.0
    # A validation, which also saves the state, follows every so many steps.
    valid_every: int = 500
    # The state is also saved every so many steps; 0 saves it at validations and every
    # five minutes only.
    save_every: int = 0
    # The seed fixes the order of the data and dropout, on the command line also the
    # first weights.
    seed: int = 0
    # The device that trains is cpu, cuda, cuda:1 or mps; auto takes the fastest one.
    device: str = "auto"
    # bfloat16 computes by autocast, which saves time and memory on recent GPUs; the
    # weights stay float32.
    precision: Literal["float32", "bfloat16"] = "float32"
    # This many processes read audio; 0 reads in the training process, raise it if the
    # log reports waiting for data.
    n_workers: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.stems, str):
            raise InputError(
                f"stems must be a tuple, got {self.stems!r}. Write ({self.stems!r},) "
                "for a single stem."
            )
        if self.stems is not None:
            stem_names(self.stems)
        for name in ("steps", "batch_size", "valid_every"):
            check_range(name, getattr(self, name), 1)
        for name in ("seed", "n_workers", "clip_norm", "save_every"):
            check_range(name, getattr(self, name), 0)
        for name in ("segment", "learning_rate"):
            check_range(name, getattr(self, name), 0, low_open=True)
        for name, value in zip(("betas[0]", "betas[1]"), self.betas, strict=True):
            check_range(name, value, 0, 1, high_open=True)
        check_range("ema_decay", self.ema_decay, 0, 1, high_open=True)
        check_range("silence", self.silence, 0, 1, high_open=True)
        check_range("warmup_steps", self.warmup_steps, 0, self.steps)
        check_name("schedule", self.schedule, SCHEDULES)
        check_name("precision", self.precision, PRECISIONS)
        low, high = self.gain_db
        if not -120 <= low <= high <= 60:
            raise InputError(
                f"gain_db must be two values from -120 to 60 dB, the lower one first, "
                f"got {self.gain_db}. (0, 0) changes no level."
            )


def parse_fields(config: Any, settings: Sequence[str]) -> dict[str, Any]:
    """Read fields of a model's config, as changes for `mssedu.create_model`.

    The type of a field says which values it takes: a whole number, a number, true or
    false, a word, or several of these with commas.

    Args:
        config: of the model's preset, with all fields and their types.
        settings: "FIELD=VALUE" each; the last value of a field counts.

    Raises:
        InputError: no "=", an unknown field (with the nearest match), or a value that
            its type does not allow.

    Example:
        >>> from mssedu.models.registry import model_config
        >>> config = model_config("spleeter", "tiny")
        >>> parse_fields(config, ["channels=1", "filters=8,16", "softmax=true"])
        {'channels': 1, 'filters': (8, 16), 'softmax': True}
    """
    types = typing.get_type_hints(type(config))
    known = [f.name for f in dataclasses.fields(config) if f.name != "stems"]
    changes = {}
    for text in settings:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise InputError(
                f"--set takes FIELD=VALUE, got {text!r}. Write for example channels=1."
            )
        if name == "stems":
            raise InputError(f"--set cannot change stems, got {text!r}. Use --stems.")
        check_name("field in --set", name, known)
        changes[name] = _parse(name, types[name], value)
    return changes


def _parse(name: str, kind: Any, text: str) -> Any:
    """The value of a field of this type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return tuple(_parse(name, inner[0], part) for part in parts)
    if origin is typing.Literal:
        return check_name(name, text, inner)
    if kind is bool and text.lower() in WORDS:
        return WORDS[text.lower()]
    if kind is str and text:
        return text
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    raise InputError(
        f"{name} must be {KINDS[kind]}, got {text!r}. Write for example "
        f"{name}={EXAMPLES[kind]}."
    )
