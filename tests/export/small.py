"""A model of a few numbers with all that is hard to export: complex spectrograms."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mssedu.spectral import istft, stft


@dataclass(frozen=True)
class SmallConfig:
    stems: tuple[str, ...] = ("dizi", "other")
    sample_rate: int = 8000
    channels: int = 2
    segment: float = 0.5
    segment_limit: float = 2.0


class Small(nn.Module):
    """Masks from a linear layer over the bins."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SmallConfig()
        self.mask = nn.Linear(33, 66)

    def forward(self, mixture: Tensor) -> Tensor:
        spectrogram = stft(mixture, 64, 16)
        masks = self.mask(spectrogram.abs().mT).sigmoid().mT.unflatten(2, (2, 33))
        estimate = masks.movedim(2, 1) * spectrogram.unsqueeze(1)
        return istft(estimate, 16, length=mixture.shape[-1])


def small(seed: int = 0) -> Small:
    torch.manual_seed(seed)
    return Small().eval()
