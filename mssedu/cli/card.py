"""The commands `models` and `card`: what models there are, and what each costs.

    mssedu models                                 names, presets, sizes
    mssedu models --pretrained                    published weights
    mssedu models --cards --format latex          all models measured, a row each
    mssedu card htdemucs                          one model, a line per number
    mssedu card runs/train                        the model of a run, as it was trained

Tables come for the terminal, in Markdown, LaTeX or CSV, to be pasted into a thesis. A
model that is named is new and untrained: none of these numbers depends on the weights.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from mssedu.cli.console import bar, out
from mssedu.errors import InputError, check_name, message
from mssedu.reports.tables import Format, Head, Rows, render
from mssedu.reports.tables import note as remark

if TYPE_CHECKING:
    from torch import nn

    from mssedu.inspect.complexity import Complexity

NOTE = (
    "1 MAC = 2 FLOPs; convolutions, linear layers, LSTMs and attention are counted, "
    "FFTs, norms and activations are not. Per second of audio, at one segment without "
    "overlap. Memory: all tensors alive at once, weights included. "
    "Real-time factor: seconds computed per second of audio"
)
HEAD = (
    *("model", "preset", "million parameters", "GFLOP", "GMAC"),
    *("receptive field, s", "latency, s", "causal"),
    *("real-time factor", "memory, MB", "segment, s"),
)


def models(
    cards: bool = False,
    pretrained: bool = False,
    preset: Literal["paper", "tiny"] = "paper",
    format: Format = "table",
    device: str = "auto",
) -> int:
    """List the models and their sizes, what they cost, or published weights.

    Args:
        cards: measure all models; minutes on a CPU, see also mssedu card.
        pretrained: list the published checkpoints instead.
        preset: of the models to measure.
        format: of the table; table is for the terminal.
        device: to measure on: auto, cpu, cuda, mps.
    """
    if cards:
        with bar("measuring") as update:
            made = make_cards(preset, device=device, progress=update)
        _show(render(*overview(made), format), note(made, format))
    else:
        _show(render(*(published() if pretrained else sizes()), format))
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
        model: its name, see mssedu models, or a run folder or checkpoint file.
        preset: paper, tiny, or another of the model; paper if not given. A checkpoint
            holds its own configuration.
        stems: names of its outputs; those of the preset if not given. A checkpoint has
            its own.
        segment: seconds given to it at once; the model's own if not given.
        format: of the table; table is for the terminal.
        device: to measure on: auto, cpu, cuda, mps.
    """
    from mssedu.models import MODELS

    if model not in MODELS and Path(model).exists():  # ./htdemucs is a folder, too
        _check_run_flags(model, preset, stems)
        made = make_run_card(model, segment=segment, device=device)
    else:
        _check_model(model)
        preset = preset or "paper"
        made = make_card(model, preset, stems or None, segment=segment, device=device)
    _show(render(*details(made), format), note([made], format))
    return 0


def _check_model(name: str) -> None:
    """An unknown name, which may be a path that does not exist."""
    from mssedu.models import MODELS

    if name not in MODELS and (Path(name).suffix or Path(name).name != name):
        wanted = f"a run folder, a checkpoint file or a model of {sorted(MODELS)}"
        got = f"{name!r}, and there is no such file"
        raise InputError(message("card", wanted, got, "Check the path."))
    check_name("model", name, MODELS)


def _check_run_flags(run: str, preset: str | None, stems: tuple[str, ...]) -> None:
    """Settings that a checkpoint has already."""
    given = [] if preset is None else [f"--preset {preset}"]
    given += [f"--stems {' '.join(stems)}"] if stems else []
    if given:
        wanted = "the configuration of the checkpoint alone"
        remedy = "Leave them out, or name a model in place of the checkpoint."
        raise InputError(message(f"card {run}", wanted, " ".join(given), remedy))


def _show(*parts: Any) -> None:
    """Tables and texts, as they are."""
    for part in parts:
        out.print(part, markup=False, highlight=False)


# ---- cards --------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """A preset of a model, or the model of a checkpoint, and what it costs."""

    name: str
    preset: str  # its name; of a checkpoint its path
    idea: str  # a line
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
    """Create a model and measure it; seconds, or a minute for the largest on a CPU.

    Args:
        name, preset, stems: as in `mssedu.create_model`.
        segment: seconds of audio to give it at once; the config's if None.
        device: where to measure: auto, cpu, cuda, mps.

    Raises:
        InputError: an unknown name, preset or device, or a segment not above 0.
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
        CheckpointError: nothing there, damaged, or weights that do not fit.
        InputError: an unknown device, or a segment not above 0.
    """
    from mssedu.weights.checkpoint import model_name
    from mssedu.weights.loading import load_model

    # As an absolute path it is never mistaken for a published name.
    model = load_model(Path(path).absolute())
    return _measured(model_name(model), str(path), model, segment, device)


def _measured(
    name: str, preset: str, model: "nn.Module", segment: float | None, device: str
) -> Card:
    from mssedu.inspect.complexity import measure
    from mssedu.models.contract import config_of
    from mssedu.training.preflight import pick_device

    model = model.to(pick_device(device))
    about = sys.modules[type(model).__module__].__doc__ or name
    idea = about.strip().splitlines()[0]
    return Card(name, preset, idea, config_of(model), measure(model, segment))


def overview(cards: Sequence[Card]) -> tuple[Head, Rows]:
    """Head and rows of a table with a row per card."""
    rows = []
    for card in cards:
        costs = card.costs
        work = (f"{costs.flops / 1e9:.1f}", f"{costs.macs / 1e9:.1f}")
        reach = (_field(card), f"{costs.latency_seconds:.3g}", _yes(costs.is_causal))
        spent = (f"{costs.realtime_factor:.2g}", f"{costs.memory_bytes / 1e6:.0f}")
        size = (card.name, card.preset, f"{costs.n_parameters / 1e6:.2f}")
        rows.append((*size, *work, *reach, *spent, f"{costs.segment:.2f}"))
    return HEAD, rows


def details(card: Card) -> tuple[Head, Rows]:
    """Head and rows of a table of one card, a number per row."""
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
    return (card.name, card.preset), rows


def note(cards: Sequence[Card], form: str = "table") -> str:
    """What the numbers of a table mean, and the machine that they are from."""
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


def sizes() -> tuple[Head, Rows]:
    """Head and rows of all models and presets, without building their weights."""
    import torch

    from mssedu.models.registry import create_model, list_models, presets_of

    rows = []
    for name in list_models():
        for preset, config in presets_of(name).items():
            with torch.device("meta"):  # tensors that have a shape and no content
                model = create_model(name, preset)
            size = sum(parameter.numel() for parameter in model.parameters())
            stems = " ".join(config.stems)
            rows.append((name, preset, stems, f"{size:,}", f"{config.segment:.1f}"))
    return ("model", "preset", "stems", "parameters", "segment, s"), rows


def published() -> tuple[Head, Rows]:
    """Head and rows of all published checkpoints."""
    from mssedu.weights.loading import table_rows

    return table_rows()


def make_cards(
    preset: str = "paper",
    *,
    device: str = "cpu",
    progress: Callable[..., None] | None = None,
) -> list[Card]:
    """A card of every model of the registry.

    Args:
        preset: "paper" or "tiny", which every model has.
        device: where to measure: auto, cpu, cuda, mps.
        progress: is called with cards done, cards in all and the name of the next.

    Raises:
        InputError: another preset, or an unknown device.
    """
    from mssedu.models.registry import list_models

    check_name("preset of all models", preset, ("paper", "tiny"))
    cards, names = [], list_models()
    for index, name in enumerate(names):
        if progress is not None:
            progress(index, len(names), name)
        cards.append(make_card(name, preset, device=device))
    if progress is not None:
        progress(len(names), len(names), "")
    return cards
