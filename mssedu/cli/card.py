"""The commands `models` and `card`: the models there are, and the cost of each.

    mssedu models                                 names, presets, sizes
    mssedu models --pretrained                    published weights
    mssedu models --cards --format latex          all models measured, a row each
    mssedu card htdemucs                          one model, a line per number
    mssedu card runs/train                        the model of a training run

Tables are printed for the terminal, or in Markdown, LaTeX or CSV for a thesis. A model
that is named is new and untrained: none of these numbers depends on the weights.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from mssedu.cli.console import bar, out
from mssedu.errors import InputError, check_name
from mssedu.reports.tables import Format, render
from mssedu.reports.tables import note as remark

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import nn

    from mssedu.inspect.complexity import Complexity

NOTE = (
    "1 MAC = 2 FLOPs; convolutions, linear layers, LSTMs and attention are counted, "
    "FFTs, norms and activations are not. Per second of audio, at one segment without "
    "overlap. Memory: the peak of all tensors, weights included. "
    "Real-time factor: computing time in seconds per second of audio"
)
# Columns of `overview` -> format of their numbers
FORMATS = {
    "million parameters": ".2f",
    "GFLOP": ".1f",
    "GMAC": ".1f",
    "latency, s": ".3g",
    "real-time factor": ".2g",
    "memory, MB": ".0f",
    "segment, s": ".2f",
}


def models(
    cards: bool = False,
    pretrained: bool = False,
    preset: Literal["paper", "tiny"] = "paper",
    format: Format = "table",
    device: str = "auto",
) -> int:
    """List the models and their sizes, their costs, or published weights.

    Args:
        cards: Measure all models. This takes minutes on a CPU; see also mssedu card.
        pretrained: List the published checkpoints instead of the models.
        preset: Measure the models of this preset.
        format: Print the table in this format.
        device: Measure on this device: auto, cpu, cuda or mps.
    """
    if cards:
        with bar("measuring") as update:
            measured = make_cards(preset, device=device, progress=update)
        _show(render(overview(measured), format, formats=FORMATS))
        _show(note(measured, format))
    elif pretrained:
        _show(render(published(), format))
    else:
        table = sizes()
        table["parameters"] = table["parameters"].map("{:,}".format)
        _show(render(table, format, decimals=1))
    return 0


def card(
    model: Annotated[str, tyro.conf.Positional],
    preset: str | None = None,
    stems: tuple[str, ...] = (),
    segment: float | None = None,
    format: Format = "table",
    device: str = "auto",
) -> int:
    """Measure a model: operations, memory, time, receptive field.

    Args:
        model: Measure this model of mssedu models, run folder or checkpoint file.
        preset: Use this preset: paper, tiny, or another of the model (None: paper). A
            checkpoint has its own configuration.
        stems: Use these names of outputs; otherwise those of the preset. A checkpoint
            has its own.
        segment: Let the model process so many seconds at once (None: the segment of
            its configuration).
        format: Print the table in this format.
        device: Measure on this device: auto, cpu, cuda or mps.
    """
    from mssedu.models import MODELS

    if model not in MODELS and Path(model).exists():  # ./htdemucs is a folder, too
        _check_run_flags(preset, stems)
        measured = make_run_card(model, segment=segment, device=device)
    else:
        _check_model(model)
        measured = make_card(
            model, preset or "paper", stems or None, segment=segment, device=device
        )
    _show(render(details(measured), format))
    _show(note([measured], format))
    return 0


def _check_model(name: str) -> None:
    """Raise InputError for an unknown name; it may be a path that does not exist."""
    from mssedu.models import MODELS

    if name not in MODELS and (Path(name).suffix or Path(name).name != name):
        raise InputError(
            f"{name} does not exist. Give a run folder, a checkpoint file, or a model "
            "of mssedu models."
        )
    check_name("model", name, MODELS)


def _check_run_flags(preset: str | None, stems: tuple[str, ...]) -> None:
    """Raise InputError for options that a checkpoint fixes itself."""
    options = [] if preset is None else [f"--preset {preset}"]
    options += [f"--stems {' '.join(stems)}"] if stems else []
    if options:
        raise InputError(
            f"a checkpoint has its own configuration: leave out {' '.join(options)}, "
            "or name a model in place of the checkpoint."
        )


def _show(part: Any) -> None:
    """Print a table or a text without markup and colors."""
    out.print(part, markup=False, highlight=False)


# ---- cards --------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """A preset of a model, or the model of a checkpoint, and its costs."""

    name: str
    preset: str  # name of the preset, or path of the checkpoint
    idea: str  # one line
    config: Any
    costs: "Complexity"


def make_card(
    name: str,
    preset: str = "paper",
    stems: Sequence[str] | None = None,
    *,
    segment: float | None = None,
    device: str = "cpu",
) -> Card:
    """Create a model and measure it; the largest takes a minute on a CPU.

    Args:
        name, preset, stems: as in `mssedu.create_model`.
        segment: seconds of audio to process at once; that of the config if None.
        device: auto, cpu, cuda or mps.

    Raises:
        InputError: an unknown name, preset or device, or a segment that is not above 0.
    """
    from mssedu.models.registry import create_model

    model = create_model(name, preset, stems)
    return _measured(name, preset, model, segment, device)


def make_run_card(
    path: str | Path, *, segment: float | None = None, device: str = "cpu"
) -> Card:
    """Load the model of a checkpoint and measure it.

    Args:
        path: run folder or checkpoint file, as in `mssedu.load_model`.
        segment, device: as in `make_card`.

    Raises:
        CheckpointError: no checkpoint, a damaged one, or weights that do not fit.
        InputError: an unknown device, or a segment that is not above 0.
    """
    from mssedu.weights.checkpoint import model_name
    from mssedu.weights.loading import load_model

    # An absolute path cannot be mistaken for a published name.
    model = load_model(Path(path).absolute())
    return _measured(model_name(model), str(path), model, segment, device)


def _measured(
    name: str, preset: str, model: "nn.Module", segment: float | None, device: str
) -> Card:
    from mssedu.inspect.complexity import measure
    from mssedu.models.contract import config_of, pick_device

    model = model.to(pick_device(device))
    about = sys.modules[type(model).__module__].__doc__ or name
    idea = about.strip().splitlines()[0]
    return Card(name, preset, idea, config_of(model), measure(model, segment))


def overview(cards: Sequence[Card]) -> "DataFrame":
    """A table with a row per card; FORMATS has the formats of its numbers."""
    from pandas import DataFrame

    rows = [
        {
            "model": card.name,
            "preset": card.preset,
            "million parameters": card.costs.n_parameters / 1e6,
            "GFLOP": card.costs.flops / 1e9,
            "GMAC": card.costs.macs / 1e9,
            "receptive field, s": _field(card),
            "latency, s": float(card.costs.latency_seconds),
            "causal": _yes(card.costs.is_causal),
            "real-time factor": card.costs.realtime_factor,
            "memory, MB": card.costs.memory_bytes / 1e6,
            "segment, s": card.costs.segment,
        }
        for card in cards
    ]
    return DataFrame(rows)


def details(card: Card) -> "DataFrame":
    """A table of one card, a number per row, as texts with their units."""
    from pandas import DataFrame

    config, costs = card.config, card.costs
    rows = [
        ("idea", card.idea.rstrip(".")),
        ("stems", ", ".join(config.stems)),
        ("audio", f"{config.sample_rate} Hz, channels: {config.channels}"),
        ("parameters", f"{costs.n_parameters:,}"),
        ("of which trained", f"{costs.n_trainable:,}"),
        ("numbers in a checkpoint", f"{costs.n_stored:,}"),
        ("segment", f"{costs.segment:.2f} s"),
        ("operations per second of audio", f"{costs.flops / 1e9:.2f} GFLOP"),
        ("the same in MACs", f"{costs.macs / 1e9:.2f} GMAC"),
        ("receptive field", f"{_field(card)} s"),
        ("of which past", _span(costs.field.past, costs.sample_rate)),
        ("of which future", _span(costs.field.future, costs.sample_rate)),
        ("causal", _yes(costs.is_causal)),
        ("latency, computing time aside", f"{costs.latency_seconds:.4g} s"),
        ("real-time factor", f"{costs.realtime_factor:.3g}"),
        ("measured on", _hardware(card)),
        ("peak memory of a segment", f"{costs.memory_bytes / 1e6:.0f} MB"),
    ]
    return DataFrame(rows, columns=[card.name, card.preset])


def note(cards: Sequence[Card], form: str = "table") -> str:
    """The meaning of the numbers in a table, and the machine that measured them."""
    return remark(f"{NOTE}, on: {_hardware(cards[0])}.", form)


def _hardware(card: Card) -> str:
    n_threads = card.costs.n_threads
    threads = "1 thread" if n_threads == 1 else f"{n_threads} threads"
    return f"{card.costs.device}, {threads}"


def _field(card: Card) -> str:
    seconds = card.costs.receptive_field_seconds
    return f"≥ {card.costs.segment:.2f}" if seconds is None else f"{seconds:.3g}"


def _span(samples: int | None, sample_rate: int) -> str:
    if samples is None:
        return "all of the segment"
    return f"{samples:,} samples, {samples / sample_rate:.4g} s"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


# ---- lists --------------------------------------------------------------------------


def sizes() -> "DataFrame":
    """A table of all models and presets, without building their weights."""
    import torch
    from pandas import DataFrame

    from mssedu.models.registry import create_model, list_models, presets_of

    rows = []
    for name in list_models():
        for preset, config in presets_of(name).items():
            with torch.device("meta"):  # tensors that have a shape but no content
                model = create_model(name, preset)
            size = sum(parameter.numel() for parameter in model.parameters())
            rows.append((name, preset, " ".join(config.stems), size, config.segment))
    columns = ["model", "preset", "stems", "parameters", "segment, s"]
    return DataFrame(rows, columns=columns)


def published() -> "DataFrame":
    """A table of all published checkpoints."""
    from pandas import DataFrame

    from mssedu.weights.loading import table_rows

    head, rows = table_rows()
    return DataFrame(rows, columns=list(head))


def make_cards(
    preset: str = "paper",
    *,
    device: str = "cpu",
    progress: Callable[..., None] | None = None,
) -> list[Card]:
    """A card of every model of the registry.

    Args:
        preset: "paper" or "tiny", which every model has.
        device: auto, cpu, cuda or mps.
        progress: is called with the number of finished cards, the number of all cards,
            and the name of the next model.

    Raises:
        InputError: another preset, or an unknown device.
    """
    from mssedu.models.registry import list_models

    check_name("preset", preset, ("paper", "tiny"))
    cards, names = [], list_models()
    for index, name in enumerate(names):
        if progress is not None:
            progress(index, len(names), name)
        cards.append(make_card(name, preset, device=device))
    if progress is not None:
        progress(len(names), len(names), "")
    return cards
