"""Costs of several models side by side, counted at one length and as a record has them.

`complexity.py` measures one model by honest conventions. This file compares models: all
at the same segment, with thop's counts beside, and with the figures that the record of
the HTDemucs variants quotes. Those figures are thop's MACs for four stems, some at 8 or
4 seconds instead of 10, and thop's parameters, which leave out a fifth.

    name ─▶ model on the meta device, which computes nothing ─▶ parameters, FLOPs, MACs
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mssedu.errors import check_range
from mssedu.inspect.complexity import count_flops
from mssedu.inspect.thop import thop_counts
from mssedu.models.contract import config_of, segment_limit
from mssedu.models.registry import create_model, model_config


@dataclass(frozen=True)
class Quoted:
    """What the record says about one of its models, with four stems."""

    giga: float | None  # called FLOPs; None: it gives no figures
    million: float | None  # called parameters
    seconds: float | None  # to separate 180 s on the GPU of its author
    segment: float = 10.0  # seconds of the input that gives the first figure
    preset: str = "paper"  # of our model


# Source: README of github.com/piusssss/demucs_learn. The text says 10 s for all.
RECORD = {
    "htdemucs": Quoted(137.52, 20.93, 6.98, preset="lab"),
    "htdemucs_p": Quoted(89.14, 53.57, 13.15, segment=8.0),
    "htdemucs_i": Quoted(99.01, 77.92, 7.08, segment=4.0),
    "htdemucs_c": Quoted(217.38, 46.95, 5.63),
    "htdemucs_s": Quoted(314.81, 29.59, 6.73),
    "htdemucs_d": Quoted(104.32, 29.19, 6.14, segment=4.0),
    "htdemucs_d2": Quoted(231.08, 59.14, 5.68),
    "htdemucs_d3": Quoted(284.49, 11.57, 6.86),
    "htdemucs_d4": Quoted(280.50, 25.46, 7.27),
    "htdemucs_n": Quoted(86.27, 9.61, 5.33),
    "htdemucs_nc": Quoted(233.23, 33.06, 9.91),
    "htdemucs_nf": Quoted(400.00, 27.39, 7.41),
    "htdemucs_nn": Quoted(None, None, None),
    "htdemucs_dn": Quoted(None, None, None),
    "htdemucs_dnf": Quoted(None, None, None),
}


@dataclass(frozen=True)
class Counts:
    """The counts of a model for one segment; nothing of it is measured."""

    name: str
    preset: str
    segment: float  # seconds
    n_parameters: int
    flops: int  # with the fused attention, as `complexity.py` counts
    thop_macs: int
    thop_parameters: int
    thop_macs_of_record: int | None  # at the record's segment
    quoted: Quoted | None  # None: the record has no such model


def model_at(
    name: str,
    preset: str,
    segment: float,
    stems: Sequence[str] | None = None,
) -> nn.Module:
    """A new model for segments of this length, in seconds.

    A model that fills its input with zeros up to a segment gets this one in its config.
    """
    changes = {}
    if segment_limit(model_config(name, preset)):
        changes["segment"] = float(segment)
    return create_model(name, preset, stems, **changes)


def count_costs(
    name: str,
    preset: str | None = None,
    *,
    segment: float = 10.0,
    stems: Sequence[str] | None = None,
) -> Counts:
    """Count parameters and operations of a model without computing anything.

    Args:
        name: of a model.
        preset: None for the one in the record, otherwise "paper".
        segment: seconds of the input.
        stems: names of the outputs; None for those of the preset. The record's figures
            are for four stems.

    Raises:
        InputError: an unknown name or preset, or a segment that is not above 0.

    Example:
        >>> counts = count_costs("htdemucs_nc", segment=1.0)
        >>> counts.n_parameters, counts.thop_parameters
        (33127988, 33055916)
    """
    check_range("segment", segment, 0, low_open=True)
    quoted = RECORD.get(name)
    preset = preset or (quoted.preset if quoted else "paper")
    n_stems = len(stems or model_config(name, preset).stems)
    if quoted and (preset != quoted.preset or n_stems != 4):
        quoted = None
    flops, macs, n_thop = _count(name, preset, segment, stems)
    of_record = None
    if quoted:
        same = quoted.segment == segment
        of_record = macs if same else _count(name, preset, quoted.segment, stems)[1]
    with torch.device("meta"):
        parameters = create_model(name, preset, stems).parameters()
    return Counts(
        name=name,
        preset=preset,
        segment=segment,
        n_parameters=sum(parameter.numel() for parameter in parameters),
        flops=flops,
        thop_macs=macs,
        thop_parameters=n_thop,
        thop_macs_of_record=of_record,
        quoted=quoted,
    )


def _count(
    name: str, preset: str, segment: float, stems: Sequence[str] | None
) -> tuple[int, int, int]:
    """FLOPs, thop's MACs and thop's parameters."""
    with torch.device("meta"):
        model = model_at(name, preset, segment, stems)
        config = config_of(model)
        samples = max(1, round(segment * config.sample_rate))
        mixture = torch.empty(1, config.channels, samples)
    return (count_flops(model, mixture), *thop_counts(model, mixture))
