"""Every score by name, with the exact words of its definition.

    Sounds (references, estimates, mixture) ──METRICS[name].function──▶ (stems) numbers

The definition and version of each are stored with its results, so that no two tables
are compared that mean different things. Whoever changes what a metric gives must raise
its version. Formulas and sources stand in `metrics` and `bss_eval`. Notebook: 04.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from mssedu.data.track import is_source
from mssedu.errors import check_name
from mssedu.metrics import ratios as metrics
from mssedu.metrics.bss import BSSEval, bss_eval

CAP = metrics.CAP_DB  # infinite ratios are stored as ± this, and counted


@dataclass(frozen=True)
class Sounds:
    """What is scored: some stems of one track, and all else that its mixture holds."""

    references: Tensor  # (stems, channels, samples)
    estimates: Tensor  # the same shape
    mixture: Tensor  # (channels, samples)
    sample_rate: int  # Hz

    @cached_property
    def accompaniment(self) -> Tensor:
        """What else is in the mixture, (1, channels, samples); (0, …) if nothing is.

        What only a codec changed is no source: no other program counts it as one.
        """
        rest = self.mixture - self.references.sum(0)
        return rest[None] if is_source(rest, self.mixture) else rest[None][:0]

    @property
    def pair(self) -> dict[str, Tensor]:
        """All sources of the mixture, and as many estimates, for joint metrics.

        The accompaniment stands in for its own estimate, of which no score is taken.
        """
        return {
            "reference": torch.cat([self.references, self.accompaniment]),
            "estimate": torch.cat([self.estimates, self.accompaniment]),
        }

    @cached_property
    def bss(self) -> BSSEval:
        """BSS Eval v4 in frames of a second; computed once for ISR, SIR and SAR."""
        return bss_eval(
            references=self.pair["reference"],
            estimates=self.pair["estimate"],
            window_length=self.sample_rate,
            hop_length=self.sample_rate,
        )


@dataclass(frozen=True)
class Metric:
    """A score: how it is computed, and what it is in words."""

    function: Callable[[Sounds], Tensor]  # -> (stems); NaN where it is not defined
    definition: str
    unit: str = "dB"
    higher_is_better: bool = True
    joint: bool = False  # of a stem, depends on which other stems are scored
    version: int = 1  # to be raised when a number changes

    def describe(self) -> dict[str, Any]:
        """All but the function, as JSON can hold it."""
        return {
            "definition": self.definition,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "joint": self.joint,
            "version": self.version,
        }


def score(names: Sequence[str], sounds: Sounds) -> dict[str, list[float]]:
    """Scores by name, a number for each stem; NaN where there is none.

    Raises:
        InputError: an unknown name.
    """
    check_metrics(names)
    n_stems = len(sounds.references)
    return {name: METRICS[name].function(sounds)[:n_stems].tolist() for name in names}


def check_metrics(names: Sequence[str]) -> None:
    """Raise InputError for a name that is not in METRICS."""
    for name in names:
        check_name("metric", name, METRICS)


def _pair(function: Callable[..., Tensor], sounds: Sounds) -> Tensor:
    return function(reference=sounds.references, estimate=sounds.estimates)


def _joint(function: Callable[..., Tensor], sounds: Sounds) -> Tensor:
    return function(**sounds.pair)


def _with_rate(function: Callable[..., Tensor], sounds: Sounds) -> Tensor:
    rate = sounds.sample_rate
    return function(
        reference=sounds.references, estimate=sounds.estimates, sample_rate=rate
    )


def _with_mixture(function: Callable[..., Tensor], sounds: Sounds) -> Tensor:
    return _with_rate(partial(function, mixture=sounds.mixture), sounds)


def _csdr_museval(sounds: Sounds) -> Tensor:
    return metrics.csdr(**sounds.pair, sample_rate=sounds.sample_rate, museval=True)


def _frames(name: str, sounds: Sounds) -> Tensor:
    """Median over the frames in which the score is defined."""
    scores: Tensor = getattr(sounds.bss, name)
    return scores.clamp(-CAP, CAP).nanquantile(0.5, -1)


_V4 = "BSS Eval v4 (512 taps, one set of filters a track), frames of 1 s, hop 1 s"
_ALL = "true stems and accompaniment (all else in the mixture)"
_MEDIAN = "median of the frames in which the true stem sounds"

METRICS = {
    "usdr": Metric(
        partial(_pair, metrics.usdr),
        "10 log10(Σ s² / Σ (s - ŝ)²) over the whole track and all channels; a silent "
        "stem has none (Mitsufuji et al. 2022)",
    ),
    "csdr": Metric(
        partial(_with_rate, metrics.csdr),
        f"usdr in frames of 1 s, hop 1 s, {_MEDIAN}: SDR of BSS Eval v4 (Stöter, "
        "Liutkus, Ito 2018)",
    ),
    "csdr_museval": Metric(
        _csdr_museval,
        "csdr without the frames in which any stem, true or estimated, is silent: as "
        "museval 0.4.1 has it",
        joint=True,
        version=2,
    ),
    "nsdr": Metric(
        partial(_pair, metrics.nsdr),
        "10 log10((Σ s² + 1e-7) / (Σ (s - ŝ)² + 1e-7)) over the whole track and all "
        "channels; silent stems count (Défossez 2021)",
    ),
    "snr": Metric(
        partial(_pair, metrics.snr),
        "usdr of each channel, mean of the channels that sound",
    ),
    "si_sdr": Metric(
        partial(_pair, metrics.si_sdr),
        "10 log10(‖α s‖² / ‖α s - ŝ‖²), α = ⟨s, ŝ⟩ / ‖s‖² for all channels together, "
        "no mean removed, over the whole track (Le Roux et al. 2019)",
    ),
    "si_sir": Metric(
        partial(_joint, metrics.si_sir),
        f"10 log10(‖α s‖² / ‖P ŝ - α s‖²), P ŝ the closest sum of scaled {_ALL}, over "
        "the whole track (Le Roux et al. 2019)",
        joint=True,
        version=2,
    ),
    "si_sar": Metric(
        partial(_joint, metrics.si_sar),
        f"10 log10(‖α s‖² / ‖ŝ - P ŝ‖²), P ŝ the closest sum of scaled {_ALL}, over "
        "the whole track (Le Roux et al. 2019)",
        joint=True,
        version=2,
    ),
    "isr": Metric(
        partial(_frames, "isr"), f"ISR of {_V4}, {_MEDIAN} (Vincent et al. 2012)"
    ),
    "sir": Metric(
        partial(_frames, "sir"),
        f"SIR of {_V4}, {_ALL}, {_MEDIAN} (Vincent et al. 2012)",
        joint=True,
        version=2,
    ),
    "sar": Metric(
        partial(_frames, "sar"),
        f"SAR of {_V4}, {_ALL}, {_MEDIAN} (Vincent et al. 2012)",
        joint=True,
        version=2,
    ),
    "pes": Metric(
        partial(_with_rate, metrics.pes),
        "10 log10(Σ ŝ² + 1e-12), mean of the frames of 1 s in which the true stem is "
        "all zeros (Schulze-Forster et al. 2019)",
        higher_is_better=False,
    ),
    "log_wmse": Metric(
        partial(_with_mixture, metrics.log_wmse),
        "-4 ln(Σ h(s - ŝ)² / Σ h(x)² + 1e-8), h a hearing filter, x the mixture, mean "
        "of channels (Jordal 2023)",
        unit="",
    ),
    "mrstft": Metric(
        partial(_pair, metrics.mrstft),
        "‖S - Ŝ‖ / ‖S‖ + mean |ln S - ln Ŝ| of STFT magnitudes, mean of windows of "
        "1024, 2048 and 4096 samples",
        unit="",
        higher_is_better=False,
    ),
    "bleedless": Metric(
        partial(_with_rate, metrics.bleedless),
        "100 / (1 + mean excess in dB of 512 mel bands)",
        unit="",
    ),
    "fullness": Metric(
        partial(_with_rate, metrics.fullness),
        "100 / (1 + mean lack in dB of 512 mel bands)",
        unit="",
    ),
}
