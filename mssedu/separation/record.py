"""separation.json, and the meters that fill it while the blocks pass.

The file is written last, beside the stems: it is the sign that they are complete. With
its seed the separation can be repeated. The meters keep no more than a moment of the
song.
"""

import math
import sys
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import mssedu

SEAM_WIDTH = 256  # samples before and after a seam, with which it is compared


@dataclass(frozen=True)
class Separation:
    """How one file was separated; the content of separation.json."""

    track: str  # name, as used in the paths of the stems
    input: str  # path of the file, as the user wrote it
    input_sha256: str
    model: str  # name of the class
    weights_sha256: str  # of all parameters and buffers
    stems: dict[str, str]  # stem -> file, relative to the output folder
    sample_rate: int  # Hz, of the stems
    channels: int  # of the stems
    samples: int  # of the stems
    song_seconds: float  # of the whole file, even if only a part was separated
    segment: float  # chunk length in seconds, as it was used in the end
    settings: dict[str, Any]  # all other options
    device: str
    gain_db: float  # of all stems; below 0 only if an integer format needed it
    input_peak: float  # largest absolute sample of the song
    peak: float  # largest absolute sample of all stems, before gain and clipping
    n_clipped: int  # number of samples that clip "clamp" or "tanh" changed
    # energy of mixture - sum of stems over that of the mixture; None: not all stems
    # were written, or the mixture is silent
    sum_residual_db: float | None
    # roughness of the stems at seams over that elsewhere; 0: equal, None: no seams
    seam_db: float | None
    bandwidth_hz: float  # above it the stems are empty, or filled from the mixture
    speed: float  # seconds of audio per second, reading and writing included
    peak_memory_mb: float | None  # of the whole process so far; None: unknown
    seed: int  # of shifts and dither: the option, mixed with the file's content
    damage: tuple[str, ...] = ()  # what was lost of the song's file, in words
    mssedu: str = mssedu.__version__


@dataclass
class LevelMeter:
    """Peak of the stems, and the difference between their sum and the mixture."""

    peak: float = 0.0
    n_over: int = 0  # samples beyond full scale
    mixture_energy: float = 0.0
    residual_energy: float = 0.0

    def add(self, estimate: Tensor, mixture: Tensor) -> None:
        """Measure a block: (stems, channels, n), and the same of the mixture."""
        size = estimate.abs()
        self.peak = max(self.peak, float(size.max()))
        self.n_over += int((size > 1).sum())
        residual = mixture - estimate.sum(0)
        self.mixture_energy += float(mixture.double().square().sum())
        self.residual_energy += float(residual.double().square().sum())

    @property
    def residual_db(self) -> float | None:
        """Energy of mixture - sum of stems over the mixture's, dB; None: silence."""
        if self.mixture_energy == 0:
            return None
        return _db(self.residual_energy / self.mixture_energy)


@dataclass
class SeamMeter:
    """How much rougher a signal is at some places than around them.

    A click is a jump, and a jump is large in the second difference of a signal,
    x[n] - 2 x[n-1] + x[n-2]. Its energy at the seam is divided by the energy of the
    `SEAM_WIDTH` samples before and after.
    """

    seams: list[int]  # in order; those without enough samples around are left out
    position: int = 0  # number of samples measured
    tail: Tensor = field(default_factory=lambda: torch.zeros(0))
    ratios: list[float] = field(default_factory=list)

    def add(self, block: Tensor) -> None:
        """Measure a block (…, n)."""
        self.tail = torch.cat([self.tail, block], dim=-1) if self.position else block
        self.position += block.shape[-1]
        begin = self.position - self.tail.shape[-1]
        while self.seams and self.seams[0] + SEAM_WIDTH <= self.position:
            first = self.seams.pop(0) - SEAM_WIDTH - 2
            if first >= begin:
                piece = self.tail[..., first - begin :][..., : 2 * SEAM_WIDTH + 2]
                rough = piece.double().diff(n=2).square().flatten(0, -2).mean(0)
                before, seam, after = rough.split([SEAM_WIDTH, 2, SEAM_WIDTH - 2])
                around = torch.cat([before, after]).mean()
                if around > 0:
                    self.ratios.append(float(seam.mean() / around))
        self.tail = self.tail[..., -(2 * SEAM_WIDTH + 2) :].clone()

    @property
    def db(self) -> float | None:
        """Mean over the seams, dB: 0 if they are like the rest; None: no seams."""
        return _db(sum(self.ratios) / len(self.ratios)) if self.ratios else None


def _db(ratio: float) -> float:
    return round(10 * math.log10(max(ratio, 1e-30)), 2)


def peak_memory_mb(device: torch.device) -> float | None:
    """Most memory so far, in MB: of the GPU, or of the process; None: unknown."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(size / 1e6 if sys.platform == "darwin" else size / 1e3, 1)
