"""From the weights of the original packages to the configs and names of our models.

    Demucs package   arguments of its constructor, by name  ─┐
    bare state dict  shapes of its tensors                   ─┼─▶ registry name, config,
    Open-Unmix       a state dict per stem, shapes           ─┘   state dict

An argument that no model of ours has is an error that names it: weights in another
network than the one they were trained in would still run, and sound wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mssedu.errors import CheckpointError, message
from mssedu.models.open_unmix import weights_of
from mssedu.weights.foreign import Weights
from mssedu.weights.origins import ORIGINS, Origin
from mssedu.weights.published import DRUMS_FIRST, SIX
from mssedu.weights.recognize import recognize

ALWAYS = ("sources", "segment", "segment_length")  # arguments of every class
STEMS = {4: DRUMS_FIRST, 6: SIX}  # of Demucs, where a file does not tell


@dataclass(frozen=True)
class Ported:
    """Weights for a model of ours."""

    model: str  # registry name
    config: dict[str, Any]  # fields that differ from the preset "paper"
    state: dict[str, Tensor]


def port(weights: Weights, where: str, stems: Sequence[str] | None = None) -> Ported:
    """Find the model of ours that a Demucs package or a state dict belongs to.

    Args:
        where: the file, for messages.
        stems: names for the outputs of a bare state dict; those of Demucs if None.

    Raises:
        CheckpointError: no model of ours has this class, argument or these tensors.
    """
    klass, arguments, state = weights.klass, weights.arguments, weights.state
    if klass is None:
        klass, arguments, n_stems, state = recognize(state, where)
        arguments = {"sources": _stem_names(n_stems, stems, where), **arguments}
    if klass not in ORIGINS:
        wanted = f"a model of the classes {sorted(ORIGINS)}"
        remedy = "mssedu has no such model."
        raise CheckpointError(message(where, wanted, klass, remedy))
    origin = ORIGINS[klass]
    return Ported(origin.model, _config(origin, arguments, where), state)


def port_open_unmix(
    states: Mapping[str, Mapping[str, Tensor]],
    where: str,
    sample_rate: int = 44100,
    hop_length: int | None = None,
) -> Ported:
    """One Open-Unmix of the state dicts of its stems; sizes are read from the first.

    Args:
        states: stem -> state dict.
        sample_rate: Hz, where the state does not hold it.
        hop_length: samples; a quarter of the STFT if None.
    """
    first = next(iter(states.values()))
    bins, input_bins = len(first["output_mean"]), len(first["input_mean"])
    rate = int(first["sample_rate"]) if "sample_rate" in first else sample_rate
    n_fft = 2 * (bins - 1)
    bidirectional = "lstm.weight_ih_l0_reverse" in first
    n_lstms = sum(name.startswith("lstm.weight_ih") for name in first)
    # The bandwidth itself is not in the tensors: any that gives as many bins will do.
    bandwidths = (16000.0, min((input_bins - 0.5) * rate / n_fft, rate / 2))
    config = {
        "stems": tuple(states),
        "sample_rate": rate,
        "channels": first["fc1.weight"].shape[1] // input_bins,
        "n_fft": n_fft,
        "hop_length": hop_length or n_fft // 4,
        "hidden": first["fc1.weight"].shape[0],
        "n_layers": n_lstms // (2 if bidirectional else 1),
        "bidirectional": bidirectional,
        "bandwidth_hz": next(
            hz for hz in bandwidths if int(hz * n_fft / rate) + 1 == input_bins
        ),
    }
    state = {
        f"networks.{i}.{name}": value
        for i, weights in enumerate(states.values())
        for name, value in weights_of(weights).items()
    }
    return Ported("open_unmix", config, state)


def _stem_names(
    n_stems: int, stems: Sequence[str] | None, where: str
) -> tuple[str, ...]:
    """Names for the outputs of a file that has none."""
    names = tuple(stems) if stems else STEMS.get(n_stems, ())
    if len(names) != n_stems:
        remedy = "Name them in their order: load_model(path, stems=(…))."
        wanted = f"names for the {n_stems} outputs of these weights"
        raise CheckpointError(message(where, wanted, list(names), remedy))
    return names


def _config(origin: Origin, arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Our config for the arguments of an original constructor."""
    known = {*ALWAYS, *origin.fields, *origin.fixed, *origin.unused}
    wrong = {
        name: value
        for name, value in arguments.items()
        if name not in known or _differs(value, origin.fixed.get(name, value))
    }
    if wrong or "sources" not in arguments:
        wanted = f"sources, and arguments that {origin.model} has"
        got = ", ".join(f"{k}={v!r}" for k, v in wrong.items()) or "no sources"
        remedy = "mssedu has no such variant of this model."
        raise CheckpointError(message(where, wanted, got, remedy))
    values = {**origin.defaults, **arguments}
    config = {ours: values[theirs] for theirs, ours in origin.fields.items()}
    if "segment_length" in arguments:  # demucs 2 counts samples
        config["segment"] = arguments["segment_length"] / config["sample_rate"]
    elif "segment" in arguments:
        config["segment"] = float(arguments["segment"])
    return {"stems": tuple(arguments["sources"]), **config, **origin.derive(config)}


def _differs(value: Any, wanted: Any) -> bool:
    """Whether two values mean different things; None, 0 and [] all mean "none"."""
    return value != wanted and bool(value or wanted)
