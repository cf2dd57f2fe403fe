"""The report of a separation, and what measures it while the blocks go by.

Beside the stems lies separation.json, written last: it is the mark that all is there.
What it says can be checked, and with its seed the separation can be repeated. Nothing
here keeps more than a moment of the song.
"""

import json
import math
import sys
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mssedu

SEAM_WIDTH = 256  # samples on either side of a seam that it is compared with


@dataclass(frozen=True)
class Separation:
    """What was done to one file; separation.json holds the same."""

    track: str  # name, as used in the paths of the stems
    input: str  # path of the file, as it was given
    input_sha256: str
    model: str  # class name
    weights_sha256: str  # of all parameters and buffers
    stems: dict[str, str]  # stem -> file, relative to the output folder
    sample_rate: int  # Hz, of the stems
    channels: int  # of the stems
    samples: int  # of the stems
    song_seconds: float  # of the whole file, where only a part was separated
    segment: float  # seconds of a chunk, as really used
    settings: dict[str, Any]  # every other setting
    device: str
    gain_db: float  # joint gain of all stems; 0 unless an integer format needed less
    input_peak: float  # largest absolute sample of the song
    peak: float  # the same of all stems, before gain and clipping
    n_clipped: int  # samples of the stems that a clip mode changed
    sum_residual_db: float | None  # energy of mixture - sum of stems over the mixture's
    seam_db: (
        float | None
    )  # how rough the stems are at seams against elsewhere; 0: alike
    bandwidth_hz: float  # above it the stems are empty, or filled up from the mixture
    speed: float  # seconds of audio per second, reading and writing included
    peak_memory_mb: float | None  # of the whole process so far; None where unknown
    seed: int  # of shifts and dither: the setting, mixed with the file's content
    mssedu: str = mssedu.__version__

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@dataclass
class LevelMeter:
    """Peak of the stems, and what is missing between their sum and the mixture."""

    peak: float = 0.0
    n_over: int = 0  # samples beyond full scale
    mixture_energy: float = 0.0
    residual_energy: float = 0.0

    def add(self, estimate: Tensor, mixture: Tensor) -> None:
        """Take a block into account.

        Args:
            estimate: (stems, channels, n).
            mixture: (channels, n).
        """
        size = estimate.abs()
        self.peak = max(self.peak, float(size.max()))
        self.n_over += int((size > 1).sum())
        residual = mixture - estimate.sum(0)
        self.mixture_energy += float(mixture.double().square().sum())
        self.residual_energy += float(residual.double().square().sum())

    @property
    def residual_db(self) -> float | None:
        """Energy of mixture - sum of stems over that of the mixture; None: silence."""
        if self.mixture_energy == 0:
            return None
        share = self.residual_energy / self.mixture_energy
        return round(10 * math.log10(max(share, 1e-30)), 2)


@dataclass
class SeamMeter:
    """How much rougher a signal is at given places than around them.

    A click is a jump, and a jump stands out in the second difference of a signal,
    x[n] - 2 x[n-1] + x[n-2]. Its energy at the seam is compared with the energy of the
    `SEAM_WIDTH` samples before and after.
    """

    seams: list[int]  # in order; those without enough samples around are left out
    position: int = 0  # samples seen
    tail: Tensor = field(default_factory=lambda: torch.zeros(0))
    ratios: list[float] = field(default_factory=list)

    def add(self, block: Tensor) -> None:
        """Take a block (…, n) into account."""
        self.tail = torch.cat([self.tail, block], dim=-1) if self.position else block
        self.position += block.shape[-1]
        begin = self.position - self.tail.shape[-1]
        while self.seams and self.seams[0] + SEAM_WIDTH <= self.position:
            first = self.seams.pop(0) - SEAM_WIDTH - 2
            if first >= begin:
                piece = self.tail[..., first - begin :][..., : 2 * SEAM_WIDTH + 2]
                self._compare(piece)
        self.tail = self.tail[..., -(2 * SEAM_WIDTH + 2) :].clone()

    def _compare(self, piece: Tensor) -> None:
        rough = piece.double().diff(n=2).square().flatten(0, -2).mean(0)
        seam = rough[SEAM_WIDTH : SEAM_WIDTH + 2].mean()
        around = torch.cat([rough[:SEAM_WIDTH], rough[SEAM_WIDTH + 2 :]]).mean()
        if around > 0:
            self.ratios.append(float(seam / around))

    @property
    def db(self) -> float | None:
        """Mean over the seams, dB: 0 where they are like the rest; None: no seams."""
        if not self.ratios:
            return None
        return round(
            10 * math.log10(max(sum(self.ratios) / len(self.ratios), 1e-30)), 2
        )


def peak_memory_mb(device: torch.device) -> float | None:
    """Most memory so far: of the GPU, or of the whole process; None where unknown."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(size / 1e6 if sys.platform == "darwin" else size / 1e3, 1)
