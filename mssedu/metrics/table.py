"""Every score by name, with the exact words of its definition.

    Sounds (references, estimates, mixture) ──METRICS[name]──▶ (stems) numbers

The definition and the version of each score are stored with its results, so that scores
of two definitions are never compared. To add a score, write its function and a row in
`METRICS`; to change the numbers of a score, raise its version. Notebook: 04.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from mssedu.audio.tensors import is_source
from mssedu.errors import check_name
from mssedu.metrics import ratios, spectral
from mssedu.metrics.bss import BSSEval, bss_eval

CAP = ratios.CAP_DB  # infinite ratios are stored as ± this, and counted


@dataclass(frozen=True)
class Sounds:
    """Some stems of one track to score, and its mixture."""

    references: Tensor  # (stems, channels, samples)
    estimates: Tensor  # the same shape
    mixture: Tensor  # (channels, samples)
    sample_rate: int  # Hz

    @cached_property
    def accompaniment(self) -> Tensor:
        """The rest of the mixture, (1, channels, samples).

        (0, …) if it is only the error of a codec, which is no source.
        """
        rest = self.mixture - self.references.sum(0)
        return rest[None] if is_source(rest, self.mixture) else rest[None][:0]

    @property
    def pair(self) -> dict[str, Tensor]:
        """With the accompaniment, which is its own estimate, for joint metrics."""
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
        )


@dataclass(frozen=True)
class Metric:
    """A score: its function, and its definition in words."""

    # returns one number per stem, NaN where the score is not defined; takes any of the
    # keyword arguments reference, estimate, mixture, sample_rate and bss (`BSSEval`)
    function: Callable[..., Tensor]
    definition: str
    unit: str = "dB"
    higher_is_better: bool = True
    joint: bool = False  # the score of a stem depends on which other stems are scored
    version: int = 1  # raise it when a number changes

    def describe(self) -> dict[str, Any]:
        """All but the function, in types that JSON knows."""
        return {name: x for name, x in vars(self).items() if name != "function"}


def score(names: Sequence[str], sounds: Sounds) -> dict[str, list[float]]:
    """Scores by name of METRICS, a number for each stem; NaN where there is none.

    Raises:
        InputError: an unknown name.

    Example:
        >>> s = torch.randn(2, 1, 8000)
        >>> sounds = Sounds(s, 0.9 * s, s.sum(0), 8000)
        >>> [round(usdr) for usdr in score(["usdr"], sounds)["usdr"]]
        [20, 20]
    """
    for name in names:
        check_name("metric", name, METRICS)
    n_stems = len(sounds.references)
    return {name: _call(METRICS[name], sounds)[:n_stems].tolist() for name in names}


def _call(metric: Metric, sounds: Sounds) -> Tensor:
    """Call the function of a metric with those of the sounds that it takes."""
    pair = {"reference": sounds.references, "estimate": sounds.estimates}
    pair = sounds.pair if metric.joint else pair
    arguments: dict[str, Any] = {}
    for name in inspect.signature(metric.function).parameters:
        if name in pair:
            arguments[name] = pair[name]
        elif name in ("mixture", "sample_rate", "bss"):
            arguments[name] = getattr(sounds, name)
    return metric.function(**arguments)


def _median(part: str, bss: BSSEval) -> Tensor:
    """Median over the frames in which the score is defined."""
    scores: Tensor = getattr(bss, part)
    return scores.clamp(-CAP, CAP).nanquantile(0.5, -1)


_V4 = "BSS Eval v4 (512 taps, one set of filters a track), frames of 1 s, hop 1 s"
_ALL = "true stems and accompaniment (all else in the mixture)"
_MEDIAN = "median of the frames in which the true stem sounds"

METRICS = {
    "usdr": Metric(
        ratios.usdr,
        "10 log10(Σ s² / Σ (s - ŝ)²) over the whole track and all channels; a silent "
        "stem has none (Mitsufuji et al. 2022)",
    ),
    "csdr": Metric(
        ratios.csdr,
        f"usdr in frames of 1 s, hop 1 s, {_MEDIAN}: SDR of BSS Eval v4 (Stöter, "
        "Liutkus, Ito 2018)",
    ),
    "csdr_museval": Metric(
        partial(ratios.csdr, museval=True),
        "csdr without the frames in which any stem, true or estimated, is silent: as "
        "museval 0.4.1 has it",
        joint=True,
        version=2,
    ),
    "nsdr": Metric(
        ratios.nsdr,
        "10 log10((Σ s² + 1e-7) / (Σ (s - ŝ)² + 1e-7)) over the whole track and all "
        "channels; silent stems count (Défossez 2021)",
    ),
    "snr": Metric(ratios.snr, "usdr of each channel, mean of the channels that sound"),
    "si_sdr": Metric(
        ratios.si_sdr,
        "10 log10(‖α s‖² / ‖α s - ŝ‖²), α = ⟨s, ŝ⟩ / ‖s‖² for all channels together, "
        "no mean removed, over the whole track (Le Roux et al. 2019)",
    ),
    "si_sir": Metric(
        ratios.si_sir,
        f"10 log10(‖α s‖² / ‖P ŝ - α s‖²), P ŝ the closest sum of scaled {_ALL}, over "
        "the whole track (Le Roux et al. 2019)",
        joint=True,
        version=2,
    ),
    "si_sar": Metric(
        ratios.si_sar,
        f"10 log10(‖α s‖² / ‖ŝ - P ŝ‖²), P ŝ the closest sum of scaled {_ALL}, over "
        "the whole track (Le Roux et al. 2019)",
        joint=True,
        version=2,
    ),
    "isr": Metric(
        partial(_median, "isr"), f"ISR of {_V4}, {_MEDIAN} (Vincent et al. 2012)"
    ),
    "sir": Metric(
        partial(_median, "sir"),
        f"SIR of {_V4}, {_ALL}, {_MEDIAN} (Vincent et al. 2012)",
        joint=True,
        version=2,
    ),
    "sar": Metric(
        partial(_median, "sar"),
        f"SAR of {_V4}, {_ALL}, {_MEDIAN} (Vincent et al. 2012)",
        joint=True,
        version=2,
    ),
    "pes": Metric(
        ratios.pes,
        "10 log10(Σ ŝ² + 1e-12), mean of the frames of 1 s in which the true stem is "
        "all zeros (Schulze-Forster et al. 2019)",
        higher_is_better=False,
    ),
    "log_wmse": Metric(
        spectral.log_wmse,
        "-4 ln(Σ h(s - ŝ)² / Σ h(x)² + 1e-8), h a hearing filter, x the mixture, mean "
        "of channels (Jordal 2023)",
        unit="",
    ),
    "mrstft": Metric(
        spectral.mrstft,
        "‖S - Ŝ‖ / ‖S‖ + mean |ln S - ln Ŝ| of STFT magnitudes, mean of windows of "
        "1024, 2048 and 4096 samples",
        unit="",
        higher_is_better=False,
    ),
    "bleedless": Metric(
        spectral.bleedless, "100 / (1 + mean excess in dB of 512 mel bands)", unit=""
    ),
    "fullness": Metric(
        spectral.fullness, "100 / (1 + mean lack in dB of 512 mel bands)", unit=""
    ),
}
