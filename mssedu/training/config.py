"""Settings of a training run: as a dataclass, on the command line, and on the disk.

    TrainConfig    one frozen dataclass: each field is a flag, its comment is the help
    parse_fields   --set channels=1 n_fft=2048: fields of the model's config
    read_run       config.json of a run folder, from which a run goes on

A run that goes on may differ from before, in

    nothing     model, preset, stems and their order; fewer steps than are done
    if allowed  settings that change a number, the kind of device, the songs
    always      n_workers, save_every, and a device of the same kind

This file needs no torch: `mssedu train --help` starts at once, and `mssedu train
--resume RUN` finds mistakes before it loads anything.
"""

import dataclasses
import json
import typing
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mssedu.audio.files import as_json, misfit, tupled
from mssedu.data import Balance, Effect
from mssedu.errors import CheckpointError, InputError, check_name, check_range
from mssedu.models.stems import stem_names

SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "bfloat16")
# What a field of a model's config may be on the command line
WORDS = {"true": True, "yes": True, "false": False, "no": False}
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
EXAMPLES = {int: "2", float: "0.5", bool: "true", str: "relu"}

RUN_FILE = "config.json"
NEVER = ("model", "preset", "stems")  # the fields that never change within a run
ALWAYS = {"n_workers", "save_every", "device"}  # the device's kind is compared instead

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
    # swaps and signs; without it they come from one moment of one song, and only gain,
    # silence and effects vary.
    remix: bool = True
    # A song is chosen in proportion to its duration; as often as any other song; or so
    # that each stem comes as often as the others, for stems that few songs have (stem
    # matters without remix only).
    balance: Balance = "duration"
    # A stem of an example that is quieter than this RMS level, in dB, is chosen again,
    # 10 times at most; None takes the first choice, try -60 for stems that often pause.
    min_active_db: float | None = None
    # Each stem of each song is first brought to this RMS level, in dB; None keeps its
    # level.
    level_db: float | None = None
    # Each stem of an example gets a random gain between these two values, in dB.
    gain_db: tuple[float, float] = (-10.0, 6.0)
    # Each stem of an example is silent with this probability; try 0.1 for stems that
    # songs often lack.
    silence: float = 0.0
    # The stems of an example come from songs with a similar tempo and a related key,
    # and begin on a beat; it needs remix, and at first some seconds for each song.
    matched: bool = False
    # Each stem of an example is a sum of two recordings with this probability, which
    # needs remix; try 0.2 for choirs and guitars.
    mixup: float = 0.0
    # These effects change the stems of an example, one after the other (see
    # mssedu.data.EFFECTS); pitch, tempo and codec take the most time.
    effects: tuple[Effect, ...] = ()
    # Each effect changes each stem of an example with this probability.
    effect_probability: float = 0.1
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
        for name in ("betas", "gain_db"):
            value = getattr(self, name)
            if not (isinstance(value, tuple) and len(value) == 2):
                raise InputError(f"{name} must be a tuple of two numbers, got {value}.")
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
        for name in ("mixup", "effect_probability"):
            check_range(name, getattr(self, name), 0, 1)
        for effect in self.effects:
            check_name("effect", effect, typing.get_args(Effect))
        check_range("warmup_steps", self.warmup_steps, 0, self.steps)
        check_name("schedule", self.schedule, SCHEDULES)
        check_name("balance", self.balance, typing.get_args(Balance))
        if self.min_active_db is not None:
            check_range("min_active_db", self.min_active_db, -120, 0)
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
        config: of the model's preset.
        settings: "FIELD=VALUE" each; the last value of a field counts.

    Raises:
        InputError: no "=", an unknown field, or a value that its type does not allow.

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
        with suppress(ValueError):
            return kind(text)
    raise InputError(
        f"{name} must be {KINDS[kind]}, got {text!r}. Write for example "
        f"{name}={EXAMPLES[kind]}."
    )


# ---- a run that goes on --------------------------------------------------------------


def goes_on(run_dir: Path, resume: bool | str) -> bool:
    """Whether `fit` resumes a run; an InputError if a new one would replace it."""
    if resume not in (True, False, "auto"):
        raise InputError(
            f"resume must be True, False or 'auto', got {resume!r}. Give the folder of "
            "the run as run_dir."
        )
    if has_state(run_dir) and not resume:
        raise InputError(
            f"{run_dir.absolute()} already holds a run. Choose another folder with "
            "--run-dir, or go on with --resume (resume=True in Python)."
        )
    return has_state(run_dir) if resume == "auto" else bool(resume)


# Parts of config.json, as `misfit` takes them; version 0.1 had fewer
_RUN = {"model_config": {"stems": [str]}, "phases": [{"from_step": int}]}
_COMMAND = {
    "data": str,
    "valid_data": (str, None),
    "no_valid": bool,
    "layout": (str, None),
    "on_missing": str,
    "on_length": str,
    "split_shares": ([float], None),
    "split_seed": int,
    "in_memory": bool,
    "set": [str],
}


def has_state(run_dir: Path) -> bool:
    """Whether the folder holds a run that can go on."""
    return (run_dir / "last.json").exists()


def read_run(run_dir: Path) -> dict[str, Any]:
    """Read config.json of a run.

    Raises:
        InputError: no run there.
        CheckpointError: a file that cannot be read.
    """
    path = run_dir / RUN_FILE
    if not path.exists():
        raise InputError(
            f"{run_dir.absolute()} is not the folder of a run: it has no {RUN_FILE}. "
            "Give the folder after --resume, or put --resume last and use --run-dir."
        )
    try:
        document = json.loads(path.read_text("utf-8"))
        document["train_config"]["model"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(
            f"{path.absolute()} does not hold the settings of a run "
            f"({type(error).__name__}: {error}). Restore it from a copy."
        ) from error
    form = {"train_config": dict} | {n: f for n, f in _RUN.items() if n in document}
    if wrong := misfit(document, form):
        raise CheckpointError(
            f"{path.absolute()} does not hold the settings of a run: {wrong}. Restore "
            "it from a copy."
        )
    return document


def config_of_run(document: Mapping[str, Any]) -> TrainConfig:
    """The settings in config.json, which are those of the newest start.

    Raises:
        InputError: a setting that this version does not have, or a wrong value.
        CheckpointError: a value of another type.
    """
    settings = document["train_config"]
    types = typing.get_type_hints(TrainConfig)
    for name in settings:
        check_name("setting", name, types, where=RUN_FILE)
    form = {name: _form(types[name]) for name in settings}
    if wrong := misfit(settings, form, "train_config"):
        raise CheckpointError(f"{RUN_FILE}: {wrong}. Restore it from a copy.")
    return TrainConfig(**tupled(settings))


def _form(kind: Any) -> Any:
    """The form of a field in JSON, as `misfit` takes it."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return str
    if typing.get_origin(kind) is tuple:
        return [_form(inner[0])]
    if inner:  # such as float | None
        return tuple(None if one is type(None) else _form(one) for one in inner)
    return kind


def command_of_run(document: Mapping[str, Any]) -> dict[str, Any]:
    """The command of the newest start; empty if Python started the run.

    Raises:
        CheckpointError: a part of it that is of another type.
    """
    phases = document.get("phases") or [{}]
    command = phases[-1].get("command") or {}
    form = {name: kind for name, kind in _COMMAND.items() if name in command}
    if wrong := misfit(command, form, "command"):
        raise CheckpointError(f"{RUN_FILE}: {wrong}. Restore it from a copy.")
    return dict(command)


def config_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], without: Iterable[str] = ()
) -> str:
    """The fields that differ, but for `without`, in words; empty if none do.

    Example:
        >>> config_changes({"seed": 0, "steps": 10}, {"seed": 1, "steps": 10})
        'seed: 0 -> 1'
    """
    before, after = as_json(old), as_json(new)
    return ", ".join(
        f"{name}: {before.get(name)!r} -> {after.get(name)!r}"
        for name in sorted((before.keys() | after.keys()) - {*without})
        if before.get(name) != after.get(name)
    )


def check_same_model(
    where: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """Raise CheckpointError unless two training configs are of one model.

    Stems in another order would fit the weights and swap the estimates.
    """
    others = (old.keys() | new.keys()) - {*NEVER}
    changes = config_changes(old, new, without=others)
    if changes:
        raise CheckpointError(
            f"{where}: {changes}. Model, preset and stems (and their order) never "
            "change within a run. Train in another folder with --run-dir (run_dir in "
            "Python)."
        )
