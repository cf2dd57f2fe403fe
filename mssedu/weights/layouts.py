"""Weights in files without the class of their model: names and shapes say what it is.

    names of the tensors ─▶ layout ─▶ our names ─▶ config, from number and shapes

What leaves no trace in the tensors (hop lengths, shares of bands) is taken as
published. To add a layout, write a row of LAYOUTS: how its names become ours, and how
the config follows from the tensors.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mssedu.errors import CheckpointError, InputError
from mssedu.models.mel_band_roformer import mel_bins

State = Mapping[str, Tensor]
Names = tuple[tuple[str, str], ...]  # regular expression in their names, and ours
SAMPLE_RATE = 44100  # Hz, of all of them

# github.com/lucidrains/BS-RoFormer before 2025, and all published weights since, from
# github.com/ZFTurbo/Music-Source-Separation-Training
ROFORMER: Names = (
    (r"^layers\.\d+\.0\..*rotary_embed\.freqs$", "transformer.time_positions.speeds"),
    (r"^layers\.\d+\.1\..*rotary_embed\.freqs$", "transformer.band_positions.speeds"),
    (r"^layers\.(\d+)\.0\.", r"transformer.time_layers.\1."),
    (r"^layers\.(\d+)\.1\.", r"transformer.band_layers.\1."),
    (r"\.layers\.0\.0\.", ".attention."),
    (r"\.layers\.0\.1\.net\.", ".feed_forward."),
    (r"\.to_(qkv|gates|out)\.(0\.)?", r".\1."),
    (r"^band_split\.to_features\.", "split.networks."),
    (r"^mask_estimators\.(\d+)\.to_freqs\.(\d+)\.0\.", r"masks.\1.networks.\2."),
    (r"^final_norm\.", "norm."),
    (r"\.gamma$", ".gain"),
)
# github.com/starrytong/SCNet
SCNET: Names = (
    (r"^encoder\.(\d+)\.SDlayer\.convs\.", r"encoder.\1.down."),
    (
        r"^encoder\.(\d+)\.conv_modules\.(\d+)\.layers\.",
        r"encoder.\1.refine.\2.branches.",
    ),
    (r"^encoder\.(\d+)\.globalconv\.", r"encoder.\1.mix."),
    (r"^decoder\.(\d+)\.0\.conv\.", r"decoder.\1.merge."),
    (r"^decoder\.(\d+)\.1\.convtrs\.", r"decoder.\1.up."),
    (
        r"^separation_net\.dp_modules\.(\d+)\.(\w+)_layers\.0\.",
        r"separator.layers.\1.bins.\2.",
    ),
    (
        r"^separation_net\.dp_modules\.(\d+)\.(\w+)_layers\.1\.",
        r"separator.layers.\1.frames.\2.",
    ),
)


@dataclass(frozen=True)
class Layout:
    """The names of the tensors of an architecture in published files."""

    signs: tuple[str, ...]  # tensors that each file of it has
    model: str  # registry name
    names: Names  # each is replaced in turn
    fields: Callable[[State], tuple[dict[str, Any], int]]  # config, number of stems
    stems: tuple[
        str, ...
    ] = ()  # in the order of all published files, if they share one


def layout_of(state: State) -> Layout | None:
    """The layout of a state dict; None if no row of LAYOUTS has its names."""
    rows = (layout for layout in LAYOUTS if state.keys() >= {*layout.signs})
    return next(rows, None)


def read_layout(
    layout: Layout, state: State, where: str
) -> tuple[dict[str, Any], int, dict[str, Tensor]]:
    """The config, the number of stems and the state dict of our model.

    Args:
        layout: of the state dict.
        state: as published; it stays as it is.
        where: the file, for messages.

    Raises:
        CheckpointError: parts that share a tensor in our model differ in the file, or
            sizes that no model has.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        own = name
        for pattern, ours in layout.names:
            own = re.sub(pattern, ours, own)
        if own in renamed and not torch.equal(renamed[own], tensor):
            raise CheckpointError(
                f"{where}: {name} must be the same in all layers, which share it. Use "
                "the weights with the package that made them."
            )
        renamed[own] = tensor
    fields, n_stems = layout.fields(renamed)
    return fields, n_stems, renamed


def _bs_roformer(state: State) -> tuple[dict[str, Any], int]:
    fields, widths, n_stems = _roformer(state)
    # Only with the right number of channels is n_fft a power of two.
    channels = 2 if _is_power(sum(widths) // 2 - 2) else 1
    bands = tuple(width // (2 * channels) for width in widths)
    sizes = {"channels": channels, "n_fft": 2 * (sum(bands) - 1), "bands": bands}
    return fields | sizes, n_stems


def _mel_band_roformer(state: State) -> tuple[dict[str, Any], int]:
    fields, widths, n_stems = _roformer(state)
    for channels, n_fft in itertools.product((1, 2), (512, 1024, 2048, 4096, 8192)):
        try:
            bands = mel_bins(SAMPLE_RATE, n_fft, len(widths))
        except InputError:
            continue
        if widths == [2 * channels * len(band) for band in bands]:
            sizes = {"channels": channels, "n_fft": n_fft, "n_bands": len(widths)}
            return fields | sizes | {"zero_dc": True}, n_stems
    raise ValueError(f"no mel bands of {SAMPLE_RATE} Hz have the widths {widths[:9]}")


def _is_power(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _roformer(state: State) -> tuple[dict[str, Any], list[int], int]:
    """Fields that both RoFormers have, the numbers in each band, and of stems."""
    n_bands = count(state, "split.networks.{}.0.gain")
    width = len(state["split.networks.0.1.bias"])
    n_heads = len(state["transformer.time_layers.0.attention.gates.bias"])
    n_linear = count(state, "masks.0.networks.0.{}.weight", step=2)
    hidden = len(state["masks.0.networks.0.0.bias"])
    fields = {
        "width": width,
        "n_layers": count(state, "transformer.time_layers.{}.attention.norm.gain"),
        "n_heads": n_heads,
        "head_width": state["transformer.time_layers.0.attention.out.weight"].shape[1]
        // n_heads,
        "mask_layers": n_linear - 1,
        "mask_scale": hidden // width if n_linear > 1 else 1,
        "dropout": 0.0,
    }
    widths = [len(state[f"split.networks.{band}.0.gain"]) for band in range(n_bands)]
    return fields, widths, count(state, "masks.{}.networks.0.0.weight")


def _scnet(state: State) -> tuple[dict[str, Any], int]:
    n_levels = count(state, "encoder.{}.mix.weight")
    widths = [len(state[f"encoder.{level}.mix.bias"]) for level in range(n_levels)]
    channels = state["encoder.0.down.0.weight"].shape[1] // 2
    kernels = [state[f"encoder.0.down.{part}.weight"].shape[2] for part in range(3)]
    branch = "encoder.0.refine.{}.branches.{}.6.weight"
    n_layers = count(state, "separator.layers.{}.bins.norm.weight")
    # Each size has its own shares of the bins: the authors' two, and the larger ones.
    shares = (0.175, 0.392) if widths[0] < 64 else (0.225, 0.372)
    shares = (0.23, 0.37) if n_layers > 6 else shares
    fields = {
        "channels": channels,
        "widths": tuple(widths),
        "low_share": shares[0],
        "mid_share": shares[1],
        "strides": tuple(1 if kernel == 3 else kernel for kernel in kernels),
        "depths": tuple(count(state, branch.format(part, "{}")) for part in range(3)),
        "compress": widths[0] // state[branch.format(0, 0)].shape[1],
        "n_layers": n_layers,
        "normalize": False,
    }
    n_out = len(state[f"decoder.{n_levels - 1}.up.0.bias"])
    return fields, n_out // (2 * channels)


def count(state: State, pattern: str, step: int = 1) -> int:
    """How many names there are with 0, `step`, 2 · `step` … in the place of {}."""
    numbers = itertools.count(0, step)
    return next(n // step for n in numbers if pattern.format(n) not in state)


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        ("band_split.to_features.0.0.gamma", "final_norm.gamma"),
        "bs_roformer",
        ROFORMER,
        _bs_roformer,
    ),
    Layout(
        ("band_split.to_features.0.0.gamma", "layers.0.0.norm.gamma"),
        "mel_band_roformer",
        ROFORMER,
        _mel_band_roformer,
    ),
    Layout(
        ("encoder.0.SDlayer.convs.0.weight",),
        "scnet",
        SCNET,
        _scnet,
        ("drums", "bass", "other", "vocals"),
    ),
)
