"""What the drawings of the architectures show: a small table of blocks for each.

The tables are in blueprints.toml. A row of a table has a block on the way down and one
on the way up, from the top to the bottom, and the sign of the skip between them. `#` in
the name of a module is the number of the level, `~` is the same counted from the end,
and `@` is the level where branches merge. `measure` runs a model on one second of
noise: how many levels there are, kernels, strides and all sizes come from the model, so
that a drawing shows what the code computes. A test draws every model.

    axes   letters of the block's output: b batch, s stem, c channel or feature, f bin,
           k band, m frame, t sample, _ an axis that is not shown
    mixes  "time", "bands" or "both": what the block compares; bins count as bands

Notebook: 15.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, check_name
from mssedu.inspect import look_inside
from mssedu.models import MODELS
from mssedu.models.contract import config_of
from mssedu.models.registry import create_model, model_config

SECONDS = 1.0  # of noise that a model is measured with
_UNITS = {"s": "stems", "f": "bins", "k": "bands", "m": "frames", "t": "samples"}
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class Block:
    """One box: words with {kernel}, {stride} and {times}, which the model fills in."""

    text: str
    module: str = ""  # its output is measured, see mssedu.inspect
    axes: str = ""
    mixes: str = ""
    times: str = ""  # a module whose layers are counted
    size: str = ""  # of its output, in words, once it is measured


@dataclass(frozen=True)
class Row:
    """A level: a block on the way down, one on the way up, and the skip between."""

    down: Block | None
    up: Block | None
    skip: str = ""  # how the skip joins: "+", "×", "−" or "beside"
    levels: str = ""  # attribute of the model that says how many such rows there are


@dataclass(frozen=True)
class Branch:
    """A U, or a chain that is bent like one."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Blueprint:
    """All that a drawing shows, but for the sizes."""

    title: str
    domain: str  # what goes in and what comes out
    branches: tuple[Branch, ...]
    bottom: tuple[Block, ...] = ()  # below the last row, one after the other
    repeats: str = ""  # a module whose layers are as many rounds of the bottom
    paths: str = ""  # a module with dense U-Nets side by side, in place of the bottom
    per_stem: bool = False  # one network for each stem; the first is drawn
    model: str = ""  # to measure, if only a part of it is drawn
    part: str = ""  # this part


@dataclass(frozen=True)
class DensePath:
    """A dense U-Net over some of the bins, folded: a block for each size."""

    name: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Measured:
    """A blueprint with all levels, sizes and numbers of one model."""

    blueprint: Blueprint
    mixture: str
    estimate: str
    branches: tuple[Branch, ...]
    bottom: tuple[Block, ...]
    rounds: int  # of the bottom; 0 if it is not repeated
    paths: tuple[DensePath, ...]
    n_parameters: int  # of one stem, if it has a network for each
    blocks: tuple[Block, ...] = field(repr=False)  # all, in the signal's order


def _blueprint(table: dict[str, Any]) -> Blueprint:
    branches: dict[str, list[Row]] = {}
    for row in table.pop("rows"):
        rows = branches.setdefault(row.pop("branch", ""), [])
        down, up = row.pop("down", None), row.pop("up", None)
        rows.append(Row(down and Block(**down), up and Block(**up), **row))
    bottom = tuple(Block(**block) for block in table.pop("bottom", ()))
    us = tuple(Branch(name, tuple(rows)) for name, rows in branches.items())
    return Blueprint(branches=us, bottom=bottom, **table)


FILE = Path(__file__).with_name("blueprints.toml")
_TABLES = tomllib.loads(FILE.read_text("utf-8"))
BLUEPRINTS = {name: _blueprint(table) for name, table in _TABLES.items()}


# ---- measuring ----------------------------------------------------------------------


def measure(model: str | nn.Module, preset: str = "paper") -> Measured:
    """The blueprint of a model with its levels, sizes and numbers.

    Args:
        model: a name of `BLUEPRINTS`, or a model of the registry.
        preset: of a model that is given by name. It is built with one stem if it has a
            network for each stem.

    Raises:
        InputError: an unknown name or preset, or a model that has no blueprint.
    """
    if isinstance(model, str):
        name = check_name("architecture", model, BLUEPRINTS)
        model = _build(name, preset)
    else:
        names = {MODELS[name]: name for name in BLUEPRINTS if name in MODELS}
        kind = type(model).__name__
        if kind not in names:
            known = ", ".join(sorted(names))
            raise InputError(f"{kind} has no drawing. Models that have one: {known}.")
        name = names[kind]
    return _Measurement(model, BLUEPRINTS[name]).result()


def _build(name: str, preset: str) -> nn.Module:
    blueprint = BLUEPRINTS[name]
    name = blueprint.model or name
    changes: dict[str, Any] = {}
    config = model_config(name, preset)
    # A model that fills its input up to a segment would compute on zeros.
    if "segment" in {each.name for each in fields(config)}:
        changes["segment"] = SECONDS
    stems = config.stems[:1] if blueprint.per_stem else None
    return create_model(name, preset, stems, **changes)


class _Measurement:
    """One model that was run on noise, with the tensors that its blueprint names."""

    def __init__(self, model: nn.Module, blueprint: Blueprint) -> None:
        self.model, self.blueprint = model, blueprint
        config = config_of(model)
        like = next(model.parameters())
        samples = round(SECONDS * config.sample_rate)
        self.mixture = torch.randn(1, config.channels, samples).to(like) / 10
        branches = tuple(
            replace(branch, rows=tuple(self._rows(branch.rows)))
            for branch in blueprint.branches
        )
        paths = tuple(self._paths()) if blueprint.paths else ()
        names = {block.module for block in _blocks(branches, blueprint.bottom, paths)}
        wanted = [self._path(name) for name in names if name]
        self.seen = look_inside(model, self.mixture, [*wanted, "estimate"])
        self.branches = tuple(
            replace(branch, rows=tuple(map(self._row, branch.rows)))
            for branch in branches
        )
        self.bottom = tuple(map(self._fill, blueprint.bottom))
        self.paths = tuple(
            replace(path, blocks=tuple(map(self._fill, path.blocks))) for path in paths
        )

    def result(self) -> Measured:
        """All that a drawing needs."""
        blueprint = self.blueprint
        counted = self.model.get_submodule(blueprint.part)
        if blueprint.per_stem:
            counted = next(self.model.get_submodule("networks").children())
        estimate = size_text(self.seen["estimate"], "b s c t")
        return Measured(
            blueprint=blueprint,
            mixture=size_text(self.mixture, "b c t"),
            estimate="to the next layer" if blueprint.part else f"estimate: {estimate}",
            branches=self.branches,
            bottom=self.bottom,
            rounds=self._count(blueprint.repeats) if blueprint.repeats else 0,
            paths=self.paths,
            n_parameters=sum(p.numel() for p in counted.parameters()),
            blocks=tuple(_blocks(self.branches, self.bottom, self.paths)),
        )

    def _rows(self, rows: tuple[Row, ...]) -> Iterator[Row]:
        """One row for each level."""
        for row in rows:
            count = self._count(row.levels) if row.levels else 1
            for level in range(count):
                yield replace(row, down=_at(row.down, level), up=_at(row.up, level))

    def _row(self, row: Row) -> Row:
        down, up = row.down and self._fill(row.down), row.up and self._fill(row.up)
        return replace(row, down=down, up=up)

    def _fill(self, block: Block) -> Block:
        """The block with its numbers, as the model has them."""
        numbers: dict[str, Any] = {}
        path = self._path(block.module)
        part = self.model if path == "estimate" else self._part(path)
        if "{kernel}" in block.text or "{stride}" in block.text:
            inside = [p for p in part.modules() if isinstance(p, _CONVOLUTIONS)]
            convolution = inside[0]
            numbers["kernel"] = _numbers(convolution.kernel_size)
            numbers["stride"] = max(convolution.stride)
        if block.times:
            numbers["times"] = self._count(block.times)
        measured = path not in ("", "estimate")  # whose size stands above its column
        size = size_text(self.seen[path], block.axes) if measured else ""
        return replace(block, text=block.text.format(**numbers), size=size)

    def _count(self, path: str) -> int:
        """The number that stands there, of layers of an LSTM, or of items in a list."""
        found: Any = self.model
        for name in self._path(path).split("."):
            found = getattr(found, name)
        if isinstance(found, nn.LSTM):
            return found.num_layers
        return found if isinstance(found, int) else len(found)

    def _part(self, path: str) -> nn.Module:
        """The module whose output has this name in `mssedu.inspect`."""
        module = re.sub(r"\[\d\]$|\.gate$", "", path)
        return self.model.get_submodule(module)

    def _path(self, path: str) -> str:
        """The path with numbers in place of those that are counted from the end."""
        found: list[str] = []
        for name in path.split("."):
            if "@" in name:
                config: Any = config_of(self.model)
                merge = config.n_apart
                name = str(-1 - merge if name.startswith("~") else merge)
            if name.startswith("-"):
                siblings: Any = self.model.get_submodule(".".join(found))
                name = str(len(siblings) + int(name))
            found.append(name)
        return ".".join(found)

    def _paths(self) -> Iterator[DensePath]:
        """The dense U-Nets that read bands, and the one that reads all bins."""
        place = self.blueprint.paths
        paths: Any = self.model.get_submodule(place)
        low = 0
        for index, bins in enumerate(paths.bins):
            name = f"bins {low} … {low + bins - 1}"
            yield self._dense_path(name, f"{place}.bands.{index}")
            low += bins
        yield self._dense_path("all bins", f"{place}.whole")

    def _dense_path(self, name: str, place: str) -> DensePath:
        path: Any = self.model.get_submodule(place)
        blocks = []
        for stage, down in enumerate(path.down):
            ups = [*path.up][::-1][stage : stage + 1]
            parts = [part for block in (down, *ups) for part in block.modules()]
            has_lstm = any(isinstance(part, nn.LSTM) for part in parts)
            text = "dense block" + " and LSTM" * has_lstm
            blocks.append(Block(text, f"{place}.down.{stage}", "b c f m", "both"))
        return DensePath(name, tuple(blocks))


def _blocks(
    branches: tuple[Branch, ...],
    bottom: tuple[Block, ...],
    paths: tuple[DensePath, ...],
) -> Iterator[Block]:
    for branch in branches:
        yield from (row.down for row in branch.rows if row.down)
    yield from bottom
    for path in paths:
        yield from path.blocks
    for branch in branches:
        yield from (row.up for row in reversed(branch.rows) if row.up)


def _at(block: Block | None, level: int) -> Block | None:
    """The block of a level."""
    if block is None:
        return None

    def place(path: str) -> str:
        return re.sub("~(?!@)", str(-1 - level), path.replace("#", str(level)))

    return replace(block, module=place(block.module), times=place(block.times))


def _numbers(sizes: tuple[int, ...]) -> str:
    """(8, 1) -> 8; (5, 5) -> 5 × 5."""
    several = [size for size in sizes if size > 1] or [1]
    return " × ".join(map(str, several))


def size_text(value: Tensor, axes: str) -> str:
    """The shape of a tensor in words.

    Example:
        >>> size_text(torch.zeros(1, 48, 512, 44), "b c f m")
        '48 × 512 bins × 44 frames'
    """
    sizes = dict(zip(axes.split(), value.shape, strict=True))
    parts = [
        f"{sizes[axis]:,} {_UNITS.get(axis, '')[: -1 if sizes[axis] == 1 else None]}"
        for axis in "scfkmt"
        if axis in sizes and not (axis == "s" and sizes[axis] == 1)
    ]
    return " × ".join(part.strip() for part in parts)
