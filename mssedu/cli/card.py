"""The commands `models` and `card`: the models there are, and the cost of each.

    mssedu models                                 names, presets, sizes
    mssedu models --pretrained                    published weights
    mssedu models --cards --format latex          all models measured, a row each
    mssedu card htdemucs                          one model, a line per number
    mssedu card runs/train                        the model of a training run
    mssedu card --all "htdemucs*" -o costs.pdf    a row each, beside a record's figures

Tables are printed for the terminal, or in Markdown, LaTeX or CSV for a thesis. A model
that is named is new and untrained: none of these numbers depends on the weights.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from mssedu.cli.console import bar, load_shown, say
from mssedu.errors import InputError, check_name, check_range
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
    from mssedu.models.registry import list_models

    if cards:
        measured, names = [], list_models()
        with bar("measuring") as update:
            for index, name in enumerate(names):
                update(index, len(names), name)
                measured.append(make_card(name, preset, device=device))
            update(len(names), len(names))
        say(render(overview(measured), format, formats=FORMATS))
        say(note(measured, format))
    elif pretrained:
        say(render(published(), format))
    else:
        table = sizes()
        table["parameters"] = table["parameters"].map("{:,}".format)
        say(render(table, format, decimals=1))
    return 0


def card(
    model: Annotated[str, tyro.conf.Positional] = "",
    preset: str | None = None,
    stems: tuple[str, ...] = (),
    segment: float | None = None,
    format: Format = "table",
    device: str = "auto",
    model_file: Path | None = None,
    pattern: Annotated[str | None, tyro.conf.arg(name="all")] = None,
    song: float | None = None,
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
) -> int:
    """Measure a model: operations, memory, time, receptive field.

    Args:
        model: Measure this model of mssedu models, published name, run folder or
            checkpoint file, or FILE.py:CLASS.
        preset: Use this preset: paper, tiny, or another of the model (None: paper). A
            checkpoint has its own configuration.
        stems: Use these names of outputs; otherwise those of the preset. A checkpoint
            has its own.
        segment: Let the model process so many seconds at once (None: the segment of
            its configuration).
        format: Print the table in this format.
        device: Measure on this device: auto, cpu, cuda or mps.
        model_file: Run this file, which has the class of a model of your own, to load a
            checkpoint of it.
        pattern: Compare the models whose names match, such as "htdemucs*": counts at
            equal length (None for segment: 10 s), peak memory, thop's counts and the
            figures of the record of the HTDemucs variants.
        song: With --all, also measure the time to separate so many seconds of noise.
            The record has the time for 180.
        out: With --all, draw the counts in this file, which ends in .pdf, .png or .svg.
    """
    if segment is not None:
        check_range("segment", segment, 0, 3600, low_open=True)
    if pattern is not None and not model:
        from mssedu.cli.cards import cards

        return cards(pattern, preset, stems, segment, format, device, song, out)
    if not model or pattern is not None or song is not None or out is not None:
        raise InputError(
            "give one model, or --all with a pattern such as 'htdemucs*'. The options "
            "--song and -o need --all."
        )
    from mssedu.models import MODELS
    from mssedu.models.names import is_own
    from mssedu.weights.checkpoint import model_name
    from mssedu.weights.published import PUBLISHED

    path = Path(model)
    if path.suffix == ".onnx":
        raise InputError(
            f"{model} is an ONNX file, and a card needs the layers of the model. Give "
            "the run folder or checkpoint file that was exported."
        )
    is_published = model in PUBLISHED
    # ./htdemucs is a folder, too
    if model not in MODELS and (is_published or path.exists()):
        options = [] if preset is None else [f"--preset {preset}"]
        options += [f"--stems {' '.join(stems)}"] if stems else []
        if options:
            raise InputError(
                "a checkpoint has its own configuration: leave out "
                f"{' '.join(options)}, or name a model in place of the checkpoint."
            )
        # The absolute path is no published name.
        source = model if is_published else path.absolute()
        loaded = load_shown(source, None, model_file, "cpu")
        # The models of a bag are of one architecture.
        name = PUBLISHED[model].model if is_published else model_name(loaded)
        measured = _card_of(name, model, loaded, segment, device)
    else:
        own = is_own(model)
        if not own and model not in MODELS and (path.suffix or path.name != model):
            raise InputError(
                f"{model} does not exist. Give a run folder, a checkpoint file, or a "
                "name of mssedu models or mssedu models --pretrained."
            )
        if not own:
            check_name("model", model, (*MODELS, *PUBLISHED))
        measured = make_card(
            model, preset or "paper", stems or None, segment=segment, device=device
        )
    say(render(details(measured), format))
    say(note([measured], format))
    return 0


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
    """Create a model and measure it; the largest takes a minute on a CPU."""
    from mssedu.models.registry import create_model

    model = create_model(name, preset, stems)
    return _card_of(name, preset, model, segment, device)


def _card_of(
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
            "causal": "yes" if card.costs.is_causal else "no",
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
        ("causal", "yes" if costs.is_causal else "no"),
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
    threads = card.costs.n_threads
    return f"{card.costs.device}, {threads} thread{'s' if threads > 1 else ''}"


def _field(card: Card) -> str:
    seconds = card.costs.receptive_field_seconds
    return f"≥ {card.costs.segment:.2f}" if seconds is None else f"{seconds:.3g}"


def _span(samples: int | None, sample_rate: int) -> str:
    if samples is None:
        return "all of the segment"
    return f"{samples:,} samples, {samples / sample_rate:.4g} s"


# ---- lists --------------------------------------------------------------------------


def sizes() -> "DataFrame":
    """A table of all models and presets, without building their weights."""
    from pandas import DataFrame

    from mssedu.models.registry import class_of, list_models, presets_of
    from mssedu.models.sizes import outline_model

    rows = []
    for name in list_models():
        for preset, config in presets_of(name).items():
            model = outline_model(class_of(name), config)
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
