"""Drawings of the HTDemucs variants side by side: branches, levels, attention, fusion.

    levels_figure({"htdemucs": model, "n": …})    a panel for each model

Each column is a branch, and each bar of it a level of its encoder. All is read from the
layers of the models, so a drawing cannot differ from the code. The decoders have the
same levels upwards.

Notebook: 16.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from matplotlib.axes import Axes
from torch import nn

from mssedu.errors import InputError
from mssedu.figures.style import (
    GRAY,
    MIXES,
    DescribedFigure,
    check_not_empty,
    describe,
    grid,
)
from mssedu.models.blocks.hybrid import FirstConvolution
from mssedu.models.blocks.transformer import LinearAttention
from mssedu.models.contract import config_of

COLUMNS = 3  # panels side by side
BAR = 0.86  # of the width of a column, for the longest axis
LONGEST = 16  # powers of 2: a bar of the full width has 65,536 positions
SMALL = 6.0  # points


@dataclass(frozen=True)
class Level:
    """A level of an encoder."""

    width: int  # channels
    kernel: int
    stride: int
    positions: float  # bins, or steps in a second


@dataclass(frozen=True)
class Branch:
    """The levels of one branch, from the top down."""

    name: str
    color: str
    first: int  # levels above it, of the branches that it continues
    levels: tuple[Level, ...]


def levels_figure(models: Mapping[str, nn.Module]) -> DescribedFigure:
    """Draw the levels of HTDemucs and its variants, a panel for each model.

    The length of a bar is the number of bins, or of steps in a second, on a logarithmic
    scale; the number in it counts channels, the labels on the left are kernel / stride.

    Args:
        models: label -> model; the meta device is enough.

    Raises:
        InputError: no models, or one without the encoders of HTDemucs.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> figure = levels_figure({"nc": create_model("htdemucs_nc", "tiny")})
        >>> figure.alt
        'nc: waveform 8/2 ×5 to 192 channels.'
    """
    check_not_empty("models", models, "model")
    found = {label: branches(model) for label, model in models.items()}
    figure, panels = grid(list(models), COLUMNS, height=2.3)
    parts = []
    for axes, (label, model) in zip(panels, models.items(), strict=True):
        notes = [*_attention(model), *_fusion(model)]
        _draw(axes, found[label], notes)
        parts.append(f"{label}: {', '.join([*map(_words, found[label]), *notes])}")
    caption = (
        "Encoders of the variants: a column for each branch, a bar for each level. The "
        "length of a bar is its number of bins, or of steps in a second, on a "
        "logarithmic scale; the number in it counts channels; on the left, kernel / "
        "stride."
    )
    return describe(figure, caption, "; ".join(parts) + ".")


def branches(model: nn.Module) -> list[Branch]:
    """The branches of HTDemucs or a variant: spectrograms, waveform, what they share.

    Raises:
        InputError: a model without the encoders of HTDemucs.
    """
    config, parts = cast(Any, config_of(model)), cast(Any, model)
    encoders = getattr(parts, "encoders", [getattr(parts, "encoder", None)])
    time = getattr(parts, "tencoder", None)
    layers = [*(encoders[0] or ()), *(time or ())]
    if not layers or not all(isinstance(layer, FirstConvolution) for layer in layers):
        raise InputError(
            f"a {type(model).__name__} has no encoders as HTDemucs has. Draw it with "
            "mssedu.figures.architecture_figure."
        )
    n_apart = getattr(config, "n_apart", None)  # levels before the branches merge
    found = []
    for encoder, n_fft in zip(encoders, _windows(config), strict=False):
        if encoder is not None:
            levels = _levels(encoder[:n_apart], n_fft / 2)
            found.append(Branch(f"STFT {n_fft}", MIXES["both"], 0, levels))
    if time is not None:
        levels = _levels(time[:n_apart], config.sample_rate)
        found.append(Branch("waveform", MIXES["time"], 0, levels))
    if n_apart is not None:
        shared = _levels(encoders[0][n_apart:], found[-1].levels[-1].positions)
        found.append(Branch("shared", MIXES["bands"], n_apart, shared))
    return found


def _windows(config: Any) -> tuple[int, ...]:
    return getattr(config, "n_ffts", None) or (getattr(config, "n_fft", 0),)


def _levels(layers: Iterable[Any], positions: float) -> tuple[Level, ...]:
    levels = []
    for layer in layers:
        kernel, stride = layer.conv.kernel_size[0], layer.conv.stride[0]
        positions /= stride
        levels.append(Level(layer.conv.out_channels, kernel, stride, positions))
    return tuple(levels)


def _attention(model: Any) -> list[str]:
    """What relates the branches, in words; nothing if nothing does."""
    if hasattr(model, "cross_down"):
        n_cross, n_self = len(model.cross_down.layers), len(model.self_down.layers)
        return [f"attention: {n_cross} cross, {n_self} self, both ways"]
    transformer = getattr(model, "crosstransformer", None)
    if transformer is None:
        return []
    is_linear = any(isinstance(part, LinearAttention) for part in model.modules())
    kind = "linear attention" if is_linear else "attention"
    return [f"{kind}: {len(transformer.layers)} layers"]


def _fusion(model: Any) -> list[str]:
    return [f"fusion: {model.config.fusion}"] if hasattr(model, "fusion") else []


def _draw(axes: Axes, found: list[Branch], notes: list[str]) -> None:
    rows = max(branch.first + len(branch.levels) for branch in found)
    for column, branch in enumerate(found):
        name = branch.name.replace(" ", "\n")
        axes.text(column, -0.5, name, ha="center", va="bottom", size=SMALL)
        for row, level in enumerate(branch.levels, branch.first):
            length = BAR * math.log2(max(level.positions, 1) + 1) / LONGEST
            axes.barh(row, length, 0.72, left=column - length / 2, color=branch.color)
            dark = length > 0.35
            axes.text(
                column if dark else column + length / 2 + 0.03,
                row,
                str(level.width),
                size=SMALL,
                color="white" if dark else "black",
                ha="center" if dark else "left",
                va="center",
            )
    labels = {
        row: f"{level.kernel}/{level.stride}"
        for branch in found
        for row, level in enumerate(branch.levels, branch.first)
    }
    axes.set_yticks(list(labels), list(labels.values()), size=SMALL)
    axes.tick_params(left=False, pad=1)
    axes.set(xlim=(-0.55, len(found) - 0.45), ylim=(rows + 0.3, -1.4), xticks=[])
    axes.text(-0.5, rows, "\n".join(notes), size=SMALL, color=GRAY, va="center")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _words(branch: Branch) -> str:
    """A branch for a screen reader: name, kernels and strides, the last width."""
    steps = [f"{level.kernel}/{level.stride}" for level in branch.levels]
    runs = [(step, steps.count(step)) for step in dict.fromkeys(steps)]
    sizes = " ".join(f"{step} ×{n}" if n > 1 else step for step, n in runs)
    return f"{branch.name} {sizes} to {branch.levels[-1].width} channels"
