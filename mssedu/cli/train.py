"""The command `mssedu train`: start a training run, or go on with one.

mssedu train SONGS --model open_unmix --stems vocals       a run in runs/train
mssedu train SONGS --set channels=1 sample_rate=48000      another form of the model
mssedu train --resume RUN                                  go on, all settings as before
mssedu train --resume RUN --steps 40000 --allow-config-change
mssedu train SONGS --run-dir RUN --resume auto             go on, or start: for scripts
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mssedu.cli.console import bar, say, show_steps
from mssedu.data import OnLength
from mssedu.errors import DatasetError, InputError, message
from mssedu.training.changes import check_same_model, config_changes
from mssedu.training.config import TrainConfig
from mssedu.training.run_document import (
    command_of_run,
    config_of_run,
    has_state,
    read_run,
    tupled,
)

if TYPE_CHECKING:
    from torch import nn

    from mssedu.data.track import Track

RUN_DIR = Path("runs/train")
AUTO = "auto"

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Fields = Annotated[
    tuple[str, ...], tyro.conf.arg(name="set", metavar="FIELD=VALUE [FIELD=VALUE …]")
]
Resume = Annotated[str | None, tyro.conf.arg(metavar="[RUN|auto]")]


@dataclass(frozen=True)
class SongOptions:
    """Which songs a run validates on, and how it reads them."""

    # songs for validation (of its split valid, if it has one); the split valid of data
    # if not given
    valid_data: Path | None = None
    no_valid: Flag = False  # train without validation; the last weights are the result
    # files of one song that differ in length are an error, get zeros at the end (pad),
    # or lose their end (cut)
    on_length: OnLength = "error"
    in_memory: bool = False  # decode all songs once and keep them (21 MB a stem-minute)


def train(
    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")],
    options: Annotated[SongOptions, tyro.conf.arg(name="")],
    config: Annotated[TrainConfig, tyro.conf.arg(name="")],
    model_fields: Fields = (),
    run_dir: Path = RUN_DIR,
    resume: Resume = None,
    allow_config_change: Flag = False,
    allow_data_change: Flag = False,
) -> int:
    """Train a model on a folder of songs with stems, or go on with a run.

    Args:
        data: a data set with the splits train and valid, or songs without splits;
            that of the run, if one is resumed.
        options: on the songs.
        config: all settings of the training.
        model_fields: fields of the model's config, such as channels=1 or n_fft=2048.
        run_dir: where checkpoints, curves and history go.
        resume: go on with the run in this folder (in run-dir, if none is named); auto:
            with the run in run-dir if there is one, else start it.
        allow_config_change: resume although settings or the device differ.
        allow_data_change: resume although the songs differ.
    """
    from mssedu.training.loop import fit

    goes_on = resume is not None and resume != AUTO
    document = read_run(run_dir) if goes_on else {}
    model = _model(config, model_fields, document, str(run_dir))
    command = _command(data, options, model_fields, command_of_run(document))
    train_songs, valid_songs = _songs(model, data, options)
    with bar("training") as update:
        result = fit(
            model,
            train_songs,
            valid_songs,
            config,
            run_dir,
            resume="auto" if resume == AUTO else goes_on,
            allow_config_change=allow_config_change,
            allow_data_change=allow_data_change,
            command=command,
            log=say,
            progress=show_steps(update),
        )
    which = "Weights of the last step" if result.score is None else "Best weights"
    say(f"{which}: {result.checkpoint}")
    return 0


def settled(words: Sequence[str]) -> tuple[Callable[..., int], list[str]]:
    """The command, with the settings of a run as its defaults if words resume one.

    Args:
        words: of the command line after `mssedu train`.

    Returns:
        the command, and the words for it: one --set for all fields, and --resume with
        the run's folder as its value.

    Raises:
        InputError: no run there, or --run-dir names another.
        CheckpointError: its settings cannot be read.
    """
    rest, value = _without_resume(_joined_set(words))
    given = _value_of(rest, "--run-dir")
    if value is None or {"-h", "--help"} & {*rest}:
        return train, rest
    run_dir = Path(given) if given else RUN_DIR
    if value == AUTO and not has_state(run_dir):
        return train, [*rest, "--resume", AUTO]
    if value not in ("", AUTO):
        if given and Path(given).resolve() != Path(value).resolve():
            got = f"--resume {value} --run-dir {given}"
            remedy = "Name it once: a run goes on in its own folder."
            raise InputError(message("train", "one folder", got, remedy))
        run_dir = Path(value)
    document = read_run(run_dir)
    words, defaults = _as_before(command_of_run(document), rest)
    config = config_of_run(document)
    command = partial(train, config=config, run_dir=run_dir, **defaults)
    return command, [*words, "--resume", str(run_dir)]


def _without_resume(words: Sequence[str]) -> tuple[list[str], str | None]:
    """The other words, and the value of --resume: "" if bare, None if not there."""
    rest, value = [], None
    todo = list(words)
    while todo:
        word = todo.pop(0)
        name, equals, own = word.partition("=")
        if name != "--resume":
            rest.append(word)
        elif equals:
            value = own
        else:
            value = todo.pop(0) if todo and not todo[0].startswith("-") else ""
    return rest, value


def _joined_set(words: Sequence[str]) -> list[str]:
    """The words with all that follows any --set behind one --set at the end."""
    rest: list[str] = []
    fields: list[str] = []
    todo = list(words)
    while todo:
        word = todo.pop(0)
        if word.startswith("--set="):
            fields.append(word.removeprefix("--set="))
        elif word == "--set" and todo:
            fields.append(todo.pop(0))
            while todo and "=" in todo[0] and not todo[0].startswith("-"):
                fields.append(todo.pop(0))
        else:
            rest.append(word)
    return [*rest, "--set", *fields] if fields else rest


def _value_of(words: Sequence[str], flag: str) -> str | None:
    """The value of a flag, if it is there: --flag value or --flag=value."""
    for place, word in enumerate(words):
        name, equals, own = word.partition("=")
        if name.replace("_", "-") == flag:
            return own if equals else next(iter(words[place + 1 :]), None)
    return None


def _as_before(
    command: Mapping[str, Any], words: list[str]
) -> tuple[list[str], dict[str, Any]]:
    """Words and defaults by which the songs are the same as before, unless changed."""
    if not command:  # the run was started from Python: its songs must be named
        return words, {}
    flags = {word.partition("=")[0].replace("_", "-") for word in words}
    valid_data = command["valid_data"]
    if command["no_valid"] and not {"--no-valid", "--valid-data"} & flags:
        words = [*words, "--no-valid"]
    options = SongOptions(
        valid_data=Path(valid_data)
        if valid_data and "--no-valid" not in flags
        else None,
        on_length=command["on_length"],
        in_memory=command["in_memory"],
    )
    return words, {"data": Path(command["data"]), "options": options}


def _command(
    data: Path,
    options: SongOptions,
    model_fields: Sequence[str],
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """What config.json keeps of the command; changes to a run that goes on are told."""
    valid_data = options.valid_data
    command = {
        "data": str(data.absolute()),
        **asdict(options),
        "valid_data": None if valid_data is None else str(valid_data.absolute()),
        "set": [*before.get("set", []), *model_fields],
    }
    changes = config_changes(before, command) if before else ""
    if changes:
        say(f"another command: {changes}")
    return command


def _model(
    config: TrainConfig,
    settings: Sequence[str],
    document: Mapping[str, Any],
    where: str,
) -> "nn.Module":
    """The model of the settings; that of a run that goes on has its fields."""
    import torch

    from mssedu.models.registry import create_model, model_config
    from mssedu.training.model_fields import parse_fields

    fields: dict[str, Any] = {}
    if document:
        check_same_model(where, document["train_config"], asdict(config))
        fields = tupled(document["model_config"])
        del fields["stems"]
    base = model_config(config.model, config.preset, config.stems)
    fields |= parse_fields(base, settings)
    torch.manual_seed(config.seed)  # the first weights are a part of the run
    return create_model(config.model, config.preset, config.stems, **fields)


def _songs(
    model: "nn.Module", data: Path, options: SongOptions
) -> tuple[list["Track"], list["Track"] | None]:
    """Songs for training and for validation, with all that sounds in their mixtures."""
    from mssedu.data.layouts import load_dataset
    from mssedu.models.contract import grouping_of

    load = partial(load_dataset, stems=grouping_of(model), on_length=options.on_length)
    if options.no_valid and options.valid_data:
        remedy = "Leave one of them out."
        got = "--no-valid and --valid-data"
        raise InputError(message("train", "at most one of both", got, remedy))
    songs = load(data)
    # Never the songs of valid or test, whatever is used for validation.
    train_songs = [song for song in songs if song.split in ("train", None)]
    if options.in_memory:
        train_songs = [song.in_memory() for song in train_songs]
    if options.no_valid:
        return train_songs, None
    if options.valid_data:
        others = load(options.valid_data)
        return train_songs, [s for s in others if s.split == "valid"] or others
    valid_songs = [song for song in songs if song.split == "valid"]
    if not valid_songs:
        remedy = (
            f"Make {data / 'valid'}, name other songs with --valid-data, or train "
            "without validation: --no-valid."
        )
        raise DatasetError(message(str(data), "songs for validation", "none", remedy))
    return train_songs, valid_songs
