"""From the weights of other packages to the config and the names of our models.

    bare state dict    names and shapes of its tensors ─▶ class and its arguments ─┐
    package of Demucs  its class and arguments, by name ───────────────────────────┤
                                                                    origins.toml ──┤
    Open-Unmix         a state dict per stem, shapes ──────────────────────────────┤
    rows of LAYOUTS    a state dict, its names and shapes: layouts.py ─────────────┤
                                        registry name, config, state dict of ours ◀┘

An argument that no model of ours has is an error that names it: weights in another
network than the one they were trained in would still run, and sound wrong. What leaves
no trace in the tensors (strides, attention heads, seconds) is taken as published.
"""

import itertools
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mssedu.errors import CheckpointError
from mssedu.models.contract import shown
from mssedu.models.hdemucs import from_torchaudio
from mssedu.weights.foreign import Weights
from mssedu.weights.layouts import layout_of, read_layout
from mssedu.weights.untrusted import odd_content

State = Mapping[str, Tensor]
ALWAYS = ("sources", "segment", "segment_length")  # arguments of every class
STEMS = {  # of Demucs, for a file without names of stems
    4: ("drums", "bass", "other", "vocals"),
    6: ("drums", "bass", "other", "vocals", "guitar", "piano"),
}
OPEN_UNMIX = {"fc1.weight", "input_mean", "output_mean"}  # tensors of every file of it
BY_STEM = ("bands", "n_fft")  # fields that a network per stem may have for itself
TORCHAUDIO = "freq_encoder.0.conv.weight"  # it renamed the branches of Hybrid Demucs


# ---- arguments of the original class -> config of ours ------------------------------


@dataclass(frozen=True)
class Ported:
    """Weights for a model of ours."""

    model: str  # registry name
    config: dict[str, Any]  # fields that differ from the preset "paper"
    state: dict[str, Tensor]


@dataclass(frozen=True)
class Origin:
    """How the arguments of an original class become our config, from origins.toml."""

    model: str  # registry name
    fields: Mapping[str, str]  # argument -> field with the same meaning
    defaults: Mapping[str, Any]  # of these arguments, where a file does not give them
    fixed: Mapping[str, Any]  # argument -> the one value that our model is built for
    unused: frozenset[str]  # arguments that matter before or during training only


def _read_origins() -> dict[str, Origin]:
    text = Path(__file__).with_name("origins.toml").read_text("utf-8")
    return {
        klass: Origin(
            model=table["model"],
            fields={name: ours for name, (ours, _) in table["fields"].items()},
            defaults={name: value for name, (_, value) in table["fields"].items()},
            fixed=table["fixed"] | dict.fromkeys(table.get("none", ())),
            unused=frozenset(table.get("unused", ())),
        )
        for klass, table in tomllib.loads(text).items()
    }


ORIGINS: Mapping[str, Origin] = _read_origins()  # by full name of the original class


def port(weights: Weights, where: str, stems: Sequence[str] | None = None) -> Ported:
    """Find the model of ours that a Demucs package or a state dict belongs to.

    Args:
        weights: of one file.
        where: the file, for messages.
        stems: names for the outputs of a bare state dict; those of Demucs if None.

    Raises:
        CheckpointError: no model of ours has this class, argument or these tensors.
    """
    sources = {}
    if weights.klass is None and (layout := layout_of(weights.state)):
        with odd_content(where):
            config, n_stems, state = read_layout(layout, weights.state, where)
        usual = layout.stems if len(layout.stems) == n_stems else ()
        names = stem_names(stems or usual, n_stems, where)
        return Ported(layout.model, {"stems": names, **config}, state)
    if weights.klass is None:
        with odd_content(where):
            weights, n_stems = recognize(weights.state, where)
        names = stem_names(stems or STEMS.get(n_stems, ()), n_stems, where)
        sources = {"sources": names}
    origin = ORIGINS.get(weights.klass or "")
    if origin is None:
        raise CheckpointError(
            f"{where} holds a model of the class {str(weights.klass)[:100]}. mssedu "
            f"has only {', '.join(sorted(ORIGINS))}."
        )
    with odd_content(where):
        config = _config(origin, sources | weights.arguments, where)
    return Ported(origin.model, config, weights.state)


def stem_names(names: Sequence[str], n_stems: int, where: str) -> tuple[str, ...]:
    """The names, or a CheckpointError if they are not one for each output."""
    if len(names) == n_stems:
        return tuple(names)
    got = f"got {', '.join(names)}" if names else "the file does not name them"
    raise CheckpointError(
        f"{where}: the {n_stems} outputs of these weights need a name each, {got}. "
        "Give the names in order: load_model(path, stems=(…))."
    )


def _config(origin: Origin, arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    sources = arguments.get("sources")
    if not isinstance(sources, list | tuple):
        raise CheckpointError(
            f"{where} does not name its stems: the argument sources is missing, or no "
            "list of names. Get the weights from their authors."
        )
    known = {*ALWAYS, *origin.fields, *origin.fixed, *origin.unused}
    wrong = []
    for name, value in arguments.items():
        wanted = origin.fixed.get(name, value)
        is_other = value != wanted and bool(value or wanted)  # None, 0, [] mean "none"
        if name not in known or is_other:
            wrong.append(f"{name[:60]}={shown(value)}")
    if wrong:
        raise CheckpointError(
            f"{where}: the weights are of a variant of {origin.model} that mssedu does "
            f"not have: {', '.join(wrong[:8])}. Use them with the package that made "
            "them."
        )
    values = {**origin.defaults, **arguments}
    config = {ours: values[theirs] for theirs, ours in origin.fields.items()}
    if "segment_length" in arguments:  # demucs 2 counts samples
        config["segment"] = arguments["segment_length"] / config["sample_rate"]
    elif "segment" in arguments:
        config["segment"] = float(arguments["segment"])
    if origin.model == "conv_tasnet":  # the original derives it
        config["hop_length"] = config["filter_length"] // 2
    return {"stems": tuple(sources), **config}


def port_open_unmix(
    states: Mapping[str, Mapping[str, Tensor]],
    where: str,
    sample_rate: int = 44100,
    hop_length: int | None = None,
) -> Ported:
    """One Open-Unmix from the state dicts of its stems; the first gives the sizes.

    Args:
        states: stem -> state dict.
        where: the file, for messages.
        sample_rate: Hz, where the state does not hold it.
        hop_length: samples; a quarter of n_fft if None.

    Raises:
        CheckpointError: a state dict of another network.
    """
    for stem, state in states.items():
        if not state.keys() >= OPEN_UNMIX:
            names = _some(state)
            raise CheckpointError(
                f"{where}: the weights of {stem} are not of Open-Unmix, their tensors "
                f"are named {names} …. Give the file that belongs to this stem."
            )
    with odd_content(where):
        config = _open_unmix_config(states, sample_rate, hop_length)
    state = {  # some files hold the rate and the STFT windows too
        f"networks.{i}.{name}": value
        for i, weights in enumerate(states.values())
        for name, value in weights.items()
        if name != "sample_rate" and not name.endswith(".window")
    }
    return Ported("open_unmix", config, state)


def _open_unmix_config(
    states: Mapping[str, State], sample_rate: int, hop_length: int | None
) -> dict[str, Any]:
    first = next(iter(states.values()))
    bins, input_bins = len(first["output_mean"]), len(first["input_mean"])
    rate = int(first["sample_rate"]) if "sample_rate" in first else sample_rate
    n_fft = 2 * (bins - 1)
    bidirectional = "lstm.weight_ih_l0_reverse" in first
    n_lstms = sum(name.startswith("lstm.weight_ih") for name in first)
    # The tensors do not hold the bandwidth: any that gives the same bins is right.
    bandwidths = (16000.0, min((input_bins - 0.5) * rate / n_fft, rate / 2))
    return {
        "stems": tuple(states),
        "sample_rate": rate,
        "channels": first["fc1.weight"].shape[1] // input_bins,
        "n_fft": n_fft,
        "hop_length": hop_length or n_fft // 4,
        "hidden": first["fc1.weight"].shape[0],
        "n_layers": n_lstms // (2 if bidirectional else 1),
        "bidirectional": bidirectional,
        "bandwidth_hz": next(
            (hz for hz in bandwidths if int(hz * n_fft / rate) + 1 == input_bins), None
        ),
    }


def join_stems(parts: Sequence[Ported], where: str) -> Ported:
    """One model with a network per stem, from files with one stem each.

    Args:
        parts: of one architecture, which has its networks in a list; the first gives
            the config.
        where: the file, for messages.

    Raises:
        CheckpointError: networks that differ in more than their stem.
    """
    config = {**parts[0].config, "stems": ()}
    state: dict[str, Tensor] = {}
    for index, part in enumerate(parts):
        for name, value in part.config.items():
            if name in BY_STEM:
                config.pop(name, None)  # our default follows the name of each stem
            elif name != "stems" and value != config.get(name):
                raise CheckpointError(
                    f"{where}: the networks of all stems must have the same {name}, "
                    f"got {shown(value)} and {shown(config.get(name))}. Give the files "
                    "that belong together."
                )
        config["stems"] += part.config["stems"]
        for name, tensor in part.state.items():
            state[name.replace("networks.0.", f"networks.{index}.", 1)] = tensor
    return Ported(parts[0].model, config, state)


# ---- tensors -> original class and its arguments ------------------------------------


def recognize(state: State, where: str) -> tuple[Weights, int]:
    """Recognize a model of the Demucs family or torchaudio's Hybrid Demucs.

    The names of the tensors show the architecture, their shapes its sizes, and their
    number its depth.

    Returns:
        the weights with the names of Demucs, with class and arguments, but for the
        names of the stems; and the number of the stems.

    Raises:
        CheckpointError: tensors of some other network; it begins with `where`.
    """
    if TORCHAUDIO in state:
        state = from_torchaudio(state)
    for sign, klass, read in KINDS:
        if sign in state:
            arguments, n_stems = read(state)
            return Weights(dict(state), klass, arguments), n_stems
    raise CheckpointError(
        f"{where} holds tensors named {_some(state)} …, which are not of "
        "Open-Unmix, Demucs, HDemucs, HTDemucs or ConvTasNet. Give a file that holds "
        "the weights of one of these, and nothing else."
    )


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
    """Arguments that Hybrid Demucs and HTDemucs have in common."""
    first, time = state["encoder.0.conv.weight"], state["tencoder.0.conv.weight"]
    depth = _count(state, "encoder.{}.conv.weight")
    channels, audio_channels = first.shape[0], time.shape[1]
    branches = [f"{side}.0.dconv.layers.0.0.weight" for side in ("encoder", "decoder")]
    inner = state[branches[0] if branches[0] in state else branches[1]]
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
    # A complex output takes two channels.
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
Kind = tuple[str, str, Reader]  # a tensor that only it has, its class, its reader
KINDS: tuple[Kind, ...] = (
    ("crosstransformer.norm_in.weight", "demucs.htdemucs.HTDemucs", _htdemucs),
    ("tencoder.0.conv.weight", "demucs.hdemucs.HDemucs", _hdemucs),
    ("encoder.0.2.weight", "demucs.model.Demucs", _demucs),
    ("encoder.conv1d_U.weight", "demucs.tasnet.ConvTasNet", _tasnet),
)


def _count(state: State, pattern: str) -> int:
    """How many names there are with 0, 1, 2 … in the place of {}."""
    return next(n for n in itertools.count() if pattern.format(n) not in state)


def _first(state: State, part: str, depth: int) -> int:
    """The first layer of the encoder that has such a part; `depth` if none has."""
    names = (n for n in state if n.startswith("encoder.") and part in n)
    return min((int(name.split(".")[1]) for name in names), default=depth)


def _some(state: State) -> str:
    return ", ".join(name[:60] for name in list(state)[:4])
