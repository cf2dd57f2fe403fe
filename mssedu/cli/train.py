"""The command `mssedu train`: start a training run, or go on with one.

mssedu train SONGS --model open_unmix --stems vocals       start a run in runs/train
mssedu train open_unmix.toml SONGS steps=2000 model.hidden=256    follow a recipe
mssedu train SONGS --set channels=1 sample_rate=48000      change fields of the model
mssedu train SONGS --on-missing absent                     songs may lack some stems
mssedu train SONGS --split-shares 0.8 0.1 0.1              songs without valid folder
mssedu train --resume RUN                                  go on with the same settings
mssedu train --resume RUN --steps 40000 --allow-config-change
mssedu train SONGS --run-dir RUN --resume auto             go on or start, for scripts
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mssedu.audio.files import tupled
from mssedu.cli.console import bar, load_songs, say, show_steps
from mssedu.data import CacheType
from mssedu.data.options import DataOptions
from mssedu.errors import DatasetError, InputError
from mssedu.training.config import TrainConfig
from mssedu.training.fields import parse_fields
from mssedu.training.recipe import take_recipe
from mssedu.training.runs import (
    check_same_model,
    command_of_run,
    config_changes,
    config_of_run,
    has_state,
    read_run,
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
# The output folder, as of any command; --resume and `mssedu card` call it a run.
RunDir = Annotated[Path, tyro.conf.arg(aliases=["-o", "--out-dir"])]
RecipeFacts = Annotated[dict[str, Any] | None, tyro.conf.Suppress, tyro.conf.Fixed]
Resume = Annotated[str | None, tyro.conf.arg(metavar="[RUN|auto]")]


@dataclass(frozen=True)
class SongOptions:
    """Which songs a run validates on, and where it reads them from."""

    # Songs for validation, or a data set with the split valid; None takes the split
    # valid of DATA.
    valid_data: Path | None = None
    # Train without validation; the weights of the last step are the result.
    no_valid: Flag = False
    # Decode the songs for training once, into this folder, and read them from there;
    # try it if training waits for data. The next run finds them there.
    cache: Path | None = None
    # The decoded songs are stored as int16, without an error for 16-bit files, or as
    # float16.
    cache_type: CacheType = "int16"
    # Decode all songs once and hold them in memory, 21 MB per minute of each stem; try
    # it if training waits for data.
    in_memory: bool = False


def train(
    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")],
    options: Annotated[SongOptions, tyro.conf.arg(name="")],
    dataset: Annotated[DataOptions, tyro.conf.arg(name="")],
    config: Annotated[TrainConfig, tyro.conf.arg(name="")],
    model_fields: Fields = (),
    run_dir: RunDir = RUN_DIR,
    resume: Resume = None,
    allow_config_change: Flag = False,
    allow_data_change: Flag = False,
    recipe: RecipeFacts = None,
) -> int:
    """Train a model on a folder of songs with stems, or go on with a run.

    Args:
        data: Songs with stems, or a data set with the splits train and valid.
        options: How to read the songs.
        dataset: Options for reading DATA and --valid-data.
        config: All settings of the training.
        model_fields: Changes of the model's config, such as channels=1 n_fft=2048.
        run_dir: Write checkpoints, curves and history to this folder.
        resume: Go on with this run (default: --run-dir); auto starts if there is none.
        allow_config_change: Resume although settings or the device differ.
        allow_data_change: Resume although the songs differ.
        recipe: Name, hash and changes of the recipe that the settings are from.
    """
    from mssedu.models.contract import grouping_of
    from mssedu.training.loop import fit

    goes_on = resume not in (None, AUTO)
    document = read_run(run_dir) if goes_on else {}
    if document:
        check_same_model(str(run_dir), document["train_config"], asdict(config))
    model = _model(config, model_fields, document)
    before = command_of_run(document)
    if config.overfit:
        options = replace(options, no_valid=True, valid_data=None)
    command = _command(data, options, dataset, model_fields, before)
    command["recipe"] = recipe or before.get("recipe")
    stems = grouping_of(model)
    train_songs, valid_songs = songs_of(stems, data, options, dataset)
    with bar("training", lines=False) as update:  # without a terminal, fit has a log
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
    """The command, with the settings of a recipe or of a resumed run as defaults.

    The words come back with one --set for all fields, and --resume with its folder.
    """
    recipe, words = take_recipe(words)
    start: Callable[..., int] = train
    if recipe is not None:
        start = partial(train, config=recipe.config, recipe=recipe.facts)
        words = [*(f"--set={field}" for field in recipe.fields), *words]
    parser = argparse.ArgumentParser("mssedu train", add_help=False, allow_abbrev=False)
    parser.add_argument("--resume", nargs="?", const="")
    parser.add_argument("--run-dir", "--run_dir", "-o", "--out-dir", "--out_dir")
    known, rest = parser.parse_known_args(_joined_set(words))
    run_dir, value = Path(known.run_dir or RUN_DIR), known.resume
    if value is None or {"-h", "--help"} & {*rest}:
        return start, ["--run-dir", known.run_dir, *rest] if known.run_dir else rest
    if value == AUTO and not has_state(run_dir):
        return start, [*rest, "--run-dir", str(run_dir), "--resume", AUTO]
    if value not in ("", AUTO):
        if known.run_dir and run_dir.resolve() != Path(value).resolve():
            raise InputError(
                f"--resume {value} and --run-dir {known.run_dir} are two folders, and "
                "a run goes on in its own. Leave --run-dir out."
            )
        run_dir = Path(value)
    document = read_run(run_dir)
    words, defaults = _as_before(command_of_run(document), rest)
    config = before = config_of_run(document)
    if recipe is not None:
        # What differs from the run is then refused, unless changes are allowed.
        config = recipe.config
        config = replace(config, stems=config.stems or before.stems)
    command = partial(start, config=config, run_dir=run_dir, **defaults)
    return command, [*words, "--resume", str(run_dir)]


def _joined_set(words: Sequence[str]) -> list[str]:
    """The words with the fields of all --set behind one --set at the end."""
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


def _as_before(
    command: Mapping[str, Any], words: list[str]
) -> tuple[list[str], dict[str, Any]]:
    """Words and defaults by which the songs are the same as before, unless changed."""
    if not command:  # the run was started from Python, so the songs must be given
        return words, {}
    flags = {word.partition("=")[0].replace("_", "-") for word in words}
    command = asdict(SongOptions()) | asdict(DataOptions()) | dict(command)
    valid_data = None if "--no-valid" in flags else command["valid_data"]
    if command["no_valid"] and not {"--no-valid", "--valid-data"} & flags:
        words = [*words, "--no-valid"]
    options = SongOptions(
        valid_data=Path(valid_data) if valid_data else None,
        in_memory=command["in_memory"],
        cache=Path(command["cache"]) if command["cache"] else None,
        cache_type=command["cache_type"],
    )
    names = asdict(DataOptions())
    dataset = DataOptions(**tupled({name: command[name] for name in names}))
    data = {"data": Path(command["data"])} if "data" in command else {}
    return words, {**data, "options": options, "dataset": dataset}


def _command(
    data: Path,
    options: SongOptions,
    dataset: DataOptions,
    fields: Sequence[str],
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """What config.json holds of the command; prints how it differs from `before`."""
    valid_data = options.valid_data
    settings = (*before.get("set", []), *fields)  # of each field, the last one counts
    by_field = {setting.partition("=")[0]: setting for setting in settings}
    command = {
        "data": str(data.absolute()),
        **asdict(options),
        **asdict(dataset),
        "valid_data": None if valid_data is None else str(valid_data.absolute()),
        "cache": None if options.cache is None else str(options.cache.absolute()),
        "set": [*by_field.values()],
    }
    if before and (changes := config_changes(before, command)):
        say(f"the command differs from before: {changes}")
    return command


def _model(
    config: TrainConfig, settings: Sequence[str], document: Mapping[str, Any]
) -> "nn.Module":
    """The model of the settings; a resumed run has its own fields, unless changed."""
    import torch

    from mssedu.models.names import is_own
    from mssedu.models.own import load_file
    from mssedu.models.registry import create_model, model_config

    if is_own(config.model):
        load_file(config.model.rpartition(":")[0])
    fields: dict[str, Any] = {}
    if document:
        fields = tupled(document["model_config"])
        del fields["stems"]
    base = model_config(config.model, config.preset, config.stems)
    fields |= parse_fields(base, settings)
    torch.manual_seed(config.seed)  # the first weights are a part of the run
    return create_model(config.model, config.preset, config.stems, **fields)


def songs_of(
    stems: Sequence[str], data: Path, options: SongOptions, dataset: DataOptions
) -> tuple[list["Track"], list["Track"] | None]:
    """Songs for training and for validation, with all stems of their mixtures."""
    load = partial(load_songs, stems=stems)
    if options.no_valid and options.valid_data:
        raise InputError("--no-valid excludes --valid-data. Leave one of them out.")
    songs = load(data, dataset)
    # Songs of the splits valid and test are never trained on.
    train_songs = [song for song in songs if song.split in ("train", None)]
    if options.cache:
        from mssedu.data.cache import cached

        with bar("decoding") as update:
            train_songs = cached(
                train_songs,
                options.cache,
                dtype=options.cache_type,
                progress=update,
                log=say,
            )
    if options.in_memory:
        train_songs = [song.in_memory() for song in train_songs]
    if options.no_valid:
        return train_songs, None
    if options.valid_data:
        others = load(options.valid_data, replace(dataset, split_shares=None))
        return train_songs, [s for s in others if s.split == "valid"] or others
    valid_songs = [song for song in songs if song.split == "valid"]
    if not valid_songs:
        raise DatasetError(
            f"{data} has no songs for validation. Create the folder {data / 'valid'}, "
            "split the songs with --split-shares 0.8 0.1 0.1, choose others with "
            "--valid-data, or train without validation: --no-valid."
        )
    return train_songs, valid_songs


def check_songs(
    run: Path, data: Path, options: SongOptions, dataset: DataOptions, *, advice: str
) -> None:
    """Raise DatasetError if the songs for training in `data` are not those of a run.

    Args:
        run: folder of a run that mssedu train has started.
        data, options, dataset: what the command line says about the songs.
        advice: the last sentence of the error.
    """
    from mssedu.data.track import data_sha256

    document = read_run(run)
    stems = config_of_run(document).stems or ()
    options = replace(options, in_memory=False, cache=None)
    songs, _ = songs_of(stems, data, options, dataset)
    found = data_sha256([song.with_stems(stems) for song in songs])
    wanted = document["phases"][-1].get("data")
    if wanted not in (None, found):
        raise DatasetError(
            f"the songs for training in {data} ({len(songs)}) are not those of {run}: "
            f"their hash is {found[:12]} and was {wanted[:12]}. {advice}"
        )
