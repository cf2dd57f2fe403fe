"""A grid of an ablation: one recipe, some variants of it, and some seeds.

    title = "Which loss?"
    recipe = "open_unmix.toml"    beside the grid, or in the folder recipes
    seeds = [0, 1, 2]

    [train]                       settings of all variants
    steps = 2000

    [variants.baseline]           the first variant is what the others are compared with

    [variants."without EMA"]      fields of `TrainConfig`
    ema_decay = []

    [variants.wide]               and fields of the model's config
    model.hidden = 512

    [variants.spleeter]           another model; its fields then need quotation marks:
    model = "spleeter"            "model.dropout" = 0.2

Each variant is trained with each seed. With one seed, nobody can tell a better variant
from a lucky one, so a grid has at least three.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssedu.audio.files import misfit
from mssedu.errors import InputError, check_name
from mssedu.training.recipe import Recipe, find_recipe, read_recipe

FEWEST_SEEDS = 3
_FORM = {
    "title": str,
    "recipe": str,
    "seeds": [int],
    "train": {str: object},
    "variants": {str: {str: object}},
}


@dataclass(frozen=True)
class GridRun:
    """One run of a grid."""

    variant: str
    seed: int
    recipe: Recipe  # with the settings of the variant and the seed

    @property
    def folder(self) -> str:
        """Its folder below that of the ablation."""
        name = re.sub(r"[^\w.+-]+", "-", self.variant)
        return f"{name}/seed{self.seed}"


@dataclass(frozen=True)
class Grid:
    """All runs of an ablation."""

    title: str
    runs: tuple[GridRun, ...]  # variant by variant, in the order of the file

    @property
    def variants(self) -> dict[str, list[GridRun]]:
        """The runs of each variant, one per seed."""
        found: dict[str, list[GridRun]] = {}
        for run in self.runs:
            found.setdefault(run.variant, []).append(run)
        return found


def read_grid(path: str | Path) -> Grid:
    """Read a grid and check the settings of all its runs.

    Raises:
        InputError: no such file or recipe, another form, fewer than three seeds or two
            variants, two variants in one folder, or a setting that does not fit.
    """
    path = Path(path)
    document = _read(path)
    seeds = list(dict.fromkeys(document["seeds"]))
    if len(seeds) < FEWEST_SEEDS:
        raise InputError(
            f"{path}: seeds has {len(seeds)} different numbers, and {FEWEST_SEEDS} are "
            "the fewest that show how much of a difference is chance. Add seeds."
        )
    if len(document["variants"]) < 2:
        raise InputError(
            f"{path}: variants has {len(document['variants'])} entries. A comparison "
            "needs two: the first is the baseline."
        )
    beside = path.parent / document["recipe"]
    known = beside.is_file()
    recipe = read_recipe(beside if known else find_recipe(document["recipe"]))
    runs = []
    for variant, changes in document["variants"].items():
        settings = (*_settings(document["train"]), *_settings(changes))
        for seed in seeds:
            own = (*settings, f"seed={seed}")
            changed = _changed(recipe, own, f"{path}: variant {variant!r}")
            runs.append(GridRun(variant, seed, changed))
    folders = [run.folder for run in runs]
    if len(set(folders)) < len(folders):
        raise InputError(
            f"{path}: two variants would have the same folder. Give them names that "
            "differ in letters or digits."
        )
    return Grid(document["title"], tuple(runs))


def _read(path: Path) -> dict[str, Any]:
    try:
        document = {"train": {}} | tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}. Check the path of the "
            "grid."
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not a grid in TOML: {error}.") from error
    for key in document:
        check_name("part of a grid", key, _FORM, where=str(path))
    if wrong := misfit(document, _FORM):
        raise InputError(
            f"{path}: {wrong}. A grid has title, recipe, seeds, [train] and "
            "[variants.NAME]."
        )
    return document


def _settings(fields: Mapping[str, Any]) -> list[str]:
    """FIELD=VALUE of each field; those of a table model have "model." in front."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            flat[name] = value
    return [f"{name}={_word(value)}" for name, value in flat.items()]


def _word(value: Any) -> str:
    """A value as it is written on the command line, in TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(_word, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    # The escapes of JSON are those of TOML.
    text = isinstance(value, str)
    return json.dumps(value, ensure_ascii=False) if text else str(value)


def _changed(recipe: Recipe, settings: tuple[str, ...], where: str) -> Recipe:
    """The recipe of a run; an InputError if its settings or its model do not fit."""
    try:
        changed = recipe.changed(settings)
        changed.model_config()
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return changed
