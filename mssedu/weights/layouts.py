"""Weights in files without the class of their model: names and shapes say what it is.

    names of the tensors ─▶ layout ─▶ our names ─▶ config, from number and shapes

What leaves no trace in the tensors (hop lengths, shares of bands) is taken as
published. To add a layout, write a row of LAYOUTS: how its names become ours, and how
the config follows from the tensors.
"""

import contextlib
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mssedu.errors import CheckpointError, InputError
from mssedu.models.bsrnn import BAND_SPLITS, BSRNNConfig
from mssedu.models.contract import shown
from mssedu.models.mdx_net import from_kuielab
from mssedu.models.mel_band_roformer import mel_bins
from mssedu.models.resunet_decouple_plus import from_bytesep

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
    (r"\.layers\.0\.0\.", ".attend."),
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
# github.com/magronp/bsrnn; a network for each stem, in a file of its own
BSRNN: Names = (
    (r"^BN\.", "networks.0.split.networks."),
    (r"^separator\.", "networks.0.layers."),
    (r"^maskers\.(\d+)\.mask\.", r"networks.0.masks.\1.networks."),
    (r"\.(time|band)_net\.norm\.", r".\1.norm."),
    (r"\.(time|band)_net\.main_layer\.", r".\1.lstm."),
    (r"\.(time|band)_net\.proj\.", r".\1.linear."),
    (r"\.tac_module\.(transform|average|concat)\.0\.", r".channels.\1."),
    (r"\.tac_module\.(transform|average|concat)\.1\.", ".channels.activation."),
    (r"\.attn_block\.attn_concat_proj\.", ".attention.output."),
    (r"\.attn_block\.attn_conv_Q_", ".attention.queries."),
    (r"\.attn_block\.attn_conv_K_", ".attention.keys."),
    (r"\.attn_block\.attn_conv_V_", ".attention.values."),
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
)


@dataclass(frozen=True)
class Layout:
    """The names of the tensors of an architecture in published files."""

    signs: tuple[str, ...]  # tensors that each file of it has
    model: str  # registry name
    names: Names  # each is replaced in turn
    fields: Callable[[State], tuple[dict[str, Any], int]]  # config, number of stems
    # In the order of all published files, if they share one
    stems: tuple[str, ...] = ()
    # First of all: other values, and without the tensors that our model has not
    adapt: Callable[[State], State] = dict
    unused: tuple[str, ...] = ()  # own names of what matters for the config only


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
    for name, tensor in layout.adapt(state).items():
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
    own_state = {n: tensor for n, tensor in renamed.items() if n not in layout.unused}
    return fields, n_stems, own_state


def _bs_roformer(state: State) -> tuple[dict[str, Any], int]:
    fields, widths, n_stems = _roformer(state)
    # Only with the right number of channels is n_fft a power of two.
    channels = 2 if _is_power(sum(widths) // 2 - 2) else 1
    bands = tuple(width // (2 * channels) for width in widths)
    sizes = {"channels": channels, "n_fft": 2 * (sum(bands) - 1), "bands": bands}
    return fields | sizes, n_stems


def _mel_band_roformer(state: State) -> tuple[dict[str, Any], int]:
    fields, widths, n_stems = _roformer(state)
    n_bands = len(widths)
    options = itertools.product((2, 1), (2048, 1024, 4096, 512, 8192))
    fitting = (size for size in options if _mel_widths(*size, n_bands) == widths)
    # If no size fits, the comparison with the shapes of the model says so.
    channels, n_fft = next(fitting, (2, 2048))
    sizes = {"channels": channels, "n_fft": n_fft, "n_bands": n_bands}
    return {**fields, **sizes, "zero_dc": True}, n_stems


def _mel_widths(channels: int, n_fft: int, n_bands: int) -> list[int]:
    """Numbers in each mel band; none if the window is too short for the bands."""
    try:
        bands = mel_bins(SAMPLE_RATE, n_fft, n_bands)
    except InputError:
        return []
    return [2 * channels * len(band) for band in bands]


def _is_power(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _roformer(state: State) -> tuple[dict[str, Any], list[int], int]:
    """Fields that both RoFormers have, the numbers in each band, and of stems."""
    n_bands = count(state, "split.networks.{}.0.gain")
    width = len(state["split.networks.0.1.bias"])
    n_heads = len(state["transformer.time_layers.0.attend.gates.bias"])
    n_linear = count(state, "masks.0.networks.0.{}.weight", step=2)
    hidden = len(state["masks.0.networks.0.0.bias"])
    fields = {
        "width": width,
        "n_layers": count(state, "transformer.time_layers.{}.attend.norm.gain"),
        "n_heads": n_heads,
        "head_width": state["transformer.time_layers.0.attend.out.weight"].shape[1]
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


def _kuielab(state: State) -> dict[str, Tensor]:
    window = {name: state[name] for name in ("window",) if name in state}
    return from_kuielab(state) | window


def _mdx_net(state: State) -> tuple[dict[str, Any], int]:
    growth, channels = state["networks.0.first.0.weight"].shape[:2]
    inner, bins = state["networks.0.encoder.0.tdf.0.weight"].shape
    fields = {
        "channels": channels // 2,
        "bins": bins,
        "depth": count(state, "networks.0.down.{}.0.weight"),
        "n_convolutions": count(state, "networks.0.middle.convolutions.{}.0.weight"),
        "growth": growth,
        "kernel": state["networks.0.middle.convolutions.0.0.weight"].shape[-1],
        "compress": bins // inner,
        "mixer": False,
    }
    if "window" in state:  # the submission's files do not hold it
        fields["n_fft"] = len(state["window"])
    return fields, 1


def _resunet(state: State) -> tuple[dict[str, Any], int]:
    n_levels = count(state, "networks.0.encoder.{}.0.norm1.weight")
    first = state["networks.0.encoder.0.0.conv1.weight"]
    encoder = "networks.0.encoder.{}.0.conv1.weight"
    fields = {
        "channels": first.shape[1],
        "n_fft": 2 * (len(state["networks.0.norm.weight"]) - 1),
        "widths": tuple(len(state[encoder.format(i)]) for i in range(n_levels)),
        "n_blocks": count(state, "networks.0.encoder.0.{}.conv1.weight"),
        "n_bottleneck": count(state, "networks.0.bottleneck.{}.0.conv1.weight"),
        "kernel": first.shape[-1],
    }
    return fields, len(state["networks.0.output.bias"]) // (4 * first.shape[1])


def _bsrnn(state: State) -> tuple[dict[str, Any], int]:
    read, layers, mask = (f"networks.0.{part}" for part in ("split", "layers", "masks"))
    n_bands = count(state, read + ".networks.{}.0.weight")
    widths = [len(state[f"{read}.networks.{n}.0.weight"]) for n in range(n_bands)]
    bins = [width // 2 for width in widths]
    n_fft = 2 * (sum(bins) - 1)
    features = len(state[f"{read}.networks.0.1.bias"])
    queries = layers + ".0.attention.queries.{}.0.bias"
    n_stems = count(state, mask + ".{}.networks.0.1.bias")
    fields = {
        "n_fft": n_fft,
        "hop_length": n_fft // 4,
        "bands": _bands_of(bins, n_fft),
        "features": features,
        "n_layers": count(state, layers + ".{}.time.norm.weight"),
        "lstm_factor": state[f"{layers}.0.time.lstm.weight_hh_l0"].shape[1] // features,
        "mask_factor": len(state[f"{mask}.0.networks.0.1.bias"]) // features,
        "attention_heads": count(state, queries),
        "average_channels": f"{layers}.0.channels.activation.weight" in state,
        "joint": n_stems > 1,
    }
    if fields["attention_heads"]:
        fields["attention_features"] = len(state[queries.format(0)])
    return fields, n_stems


def _bands_of(bins: list[int], n_fft: int) -> str:
    for name in BAND_SPLITS:
        with contextlib.suppress(InputError):  # of bands narrower than one bin
            config = BSRNNConfig(n_fft=n_fft, hop_length=n_fft // 4, bands=name)
            if config.bins_of("") == bins:
                return name
    raise CheckpointError(
        f"the bands must be those of the paper, got {shown(bins)} bins. Use the "
        "weights with the package that made them."
    )


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
    Layout(
        ("first_conv.0.weight", "final_conv.0.weight"),
        "mdx_net",
        ((r"^(?!window$)", "networks.0."),),
        _mdx_net,
        adapt=_kuielab,
        unused=("window",),
    ),
    Layout(
        ("bn0.weight", "conv_block7a.conv_block1.abn2.weight"),
        "resunet_decouple_plus",
        ((r"^", "networks.0."),),
        _resunet,
        adapt=from_bytesep,
    ),
    Layout(
        ("BN.0.0.weight", "separator.0.time_net.norm.weight"),
        "bsrnn",
        BSRNN,
        _bsrnn,
        ("vocals", "bass", "drums", "other"),
        unused=("stft.transf.window", "istft.transf.window"),
    ),
)
