"""Tell from the tensors alone which network they are, as an expert reads a state dict.

The names of the tensors give the architecture away, their shapes its sizes, their
number its depth. The answer is what the constructor of the original would have been
given. What leaves no trace (strides, attention heads, seconds) is taken as published.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from mssedu.errors import CheckpointError, message
from mssedu.models.hdemucs import from_torchaudio

State = Mapping[str, Tensor]
TORCHAUDIO = "freq_encoder.0.conv.weight"  # it renamed the branches of Hybrid Demucs


class Found(NamedTuple):
    """What a state dict is."""

    klass: str  # full name of the original class
    arguments: dict[str, Any]  # of its constructor, without the names of the stems
    n_stems: int
    state: dict[str, Tensor]  # under the names of Demucs


def recognize(state: State, where: str) -> Found:
    """Recognize a model of the Demucs family or torchaudio's Hybrid Demucs.

    Args:
        where: the file, for messages.

    Raises:
        CheckpointError: tensors of some other network.
    """
    if TORCHAUDIO in state:
        state = from_torchaudio(state)
    for sign, klass, read in KINDS:
        if sign in state:
            arguments, n_stems = read(state)
            return Found(klass, arguments, n_stems, dict(state))
    wanted = "weights of Open-Unmix, Demucs, HDemucs, HTDemucs or ConvTasNet"
    got = f"tensors named {', '.join(list(state)[:4])} …"
    remedy = "mssedu does not know this network, or these are not its weights alone."
    raise CheckpointError(message(where, wanted, got, remedy))


def _htdemucs(state: State) -> tuple[dict[str, Any], int]:
    arguments, n_stems = _hybrid(state)
    up = state.get("channel_upsampler.weight")
    linear = state["crosstransformer.layers.0.linear1.weight"]
    n_layers = _count(state, "crosstransformer.layers.{}.linear1.weight")
    transformer = {
        "bottom_channels": 0 if up is None else up.shape[0],
        "t_layers": n_layers,
        "t_hidden_scale": linear.shape[0] / linear.shape[1],
        "segment": 7.8,
    }
    return arguments | transformer, n_stems


def _hdemucs(state: State) -> tuple[dict[str, Any], int]:
    arguments, n_stems = _hybrid(state)
    depth = arguments["depth"]
    last = state[f"encoder.{depth - 1}.conv.weight"]  # of both branches, over time
    extra = {
        "time_stride": last.shape[-1] // 2,
        "dconv_lstm": _first(state, ".lstm.", depth),
        "dconv_attn": _first(state, ".content.", depth),
    }
    return arguments | extra, n_stems


def _hybrid(state: State) -> tuple[dict[str, Any], int]:
    """What Hybrid Demucs and its successor have in common."""
    first, time = state["encoder.0.conv.weight"], state["tencoder.0.conv.weight"]
    depth = _count(state, "encoder.{}.conv.weight")
    channels, audio_channels = first.shape[0], time.shape[1]
    inner = state.get("encoder.0.dconv.layers.0.0.weight")
    inner = state["decoder.0.dconv.layers.0.0.weight"] if inner is None else inner
    branches = (
        "encoder.0.dconv.layers.0.0.weight",
        "decoder.0.dconv.layers.0.0.weight",
    )
    arguments = {
        "audio_channels": audio_channels,
        "channels": channels,
        "growth": state["encoder.1.conv.weight"].shape[0] / channels,
        "nfft": 8 * state["freq_emb.embedding.weight"].shape[0],  # 2 · a stride of 4
        "cac": first.shape[1] == 2 * audio_channels,
        "depth": depth,
        "kernel_size": first.shape[2],
        "context": state["decoder.0.rewrite.weight"].shape[-1] // 2,
        "context_enc": state["encoder.0.rewrite.weight"].shape[-1] // 2,
        "norm_starts": _first(state, ".norm1.", max(depth, 4)),
        "dconv_mode": sum((name in state) << bit for bit, name in enumerate(branches)),
        "dconv_depth": _count(state, "encoder.0.dconv.layers.{}.0.weight"),
        "dconv_comp": inner.shape[1] // inner.shape[0],
    }
    # Complex numbers leave as two channels each.
    n_out = state[f"decoder.{depth - 1}.conv_tr.weight"].shape[1]
    return arguments, n_out // audio_channels // (2 if arguments["cac"] else 1)


def _demucs(state: State) -> tuple[dict[str, Any], int]:
    first = state["encoder.0.0.weight"]
    channels, audio_channels, kernel_size = first.shape
    depth = _count(state, "encoder.{}.0.weight")
    arguments = {
        "audio_channels": audio_channels,
        "channels": channels,
        "growth": state["encoder.1.0.weight"].shape[0] / channels,
        "depth": depth,
        "glu": state["encoder.0.2.weight"].shape[0] == 2 * channels,
        "kernel_size": kernel_size,
        "lstm_layers": _count(state, "lstm.lstm.weight_ih_l{}"),
        "context": state["decoder.0.0.weight"].shape[-1],
    }
    n_out = state[f"decoder.{depth - 1}.2.weight"].shape[1]
    return arguments, n_out // audio_channels


def _tasnet(state: State) -> tuple[dict[str, Any], int]:
    n_filters, audio_channels, length = state["encoder.conv1d_U.weight"].shape
    block = "separator.network.2.0.{}.net."
    n_blocks = _count(state, block + "0.weight")
    arguments = {
        "audio_channels": audio_channels,
        "N": n_filters,
        "L": length,
        "B": state["separator.network.1.weight"].shape[0],
        "H": state[block.format(0) + "0.weight"].shape[0],
        "P": state[block.format(0) + "3.net.0.weight"].shape[-1],
        "X": n_blocks,
        "R": _count(state, "separator.network.2.{}.0.net.0.weight"),
    }
    return arguments, state["separator.network.3.weight"].shape[0] // n_filters


Reader = Callable[[State], tuple[dict[str, Any], int]]
KINDS: tuple[tuple[str, str, Reader], ...] = (  # a telling tensor, class, reader
    ("crosstransformer.norm_in.weight", "demucs.htdemucs.HTDemucs", _htdemucs),
    ("tencoder.0.conv.weight", "demucs.hdemucs.HDemucs", _hdemucs),
    ("encoder.0.2.weight", "demucs.model.Demucs", _demucs),
    ("encoder.conv1d_U.weight", "demucs.tasnet.ConvTasNet", _tasnet),
)


def _count(state: State, pattern: str) -> int:
    """How many names there are with 0, 1, 2 … in the place of {}."""
    number = 0
    while pattern.format(number) in state:
        number += 1
    return number


def _first(state: State, part: str, depth: int) -> int:
    """The first layer of the encoder that has such a part; `depth` if none has."""
    return next(
        (
            i
            for i in range(depth)
            if any(name.startswith(f"encoder.{i}.") and part in name for name in state)
        ),
        depth,
    )
