"""A small model: convolutions over time turn a magnitude spectrogram into masks."""

from dataclasses import dataclass

from torch import Tensor, nn

from mssedu.errors import check_mixture
from mssedu.models.contract import check_config, check_stft
from mssedu.spectral import istft, stft


@dataclass(frozen=True)
class ConvMaskConfig:
    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 6.0  # seconds of a chunk in inference
    n_fft: int = 1024  # the hop length is a quarter of it

    def __post_init__(self) -> None:  # an InputError names the field that is wrong
        check_config(self)
        check_stft(self.n_fft, self.n_fft // 4)


class ConvMask(nn.Module):
    def __init__(self, config: ConvMaskConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels * (config.n_fft // 2 + 1)
        self.hidden = nn.Conv1d(width, 64, kernel_size=5, padding=2)
        self.mask = nn.Conv1d(64, len(config.stems) * width, kernel_size=1)

    def forward(self, mixture: Tensor) -> Tensor:
        check_mixture(mixture, self.config.channels)
        spectrogram = stft(mixture, self.config.n_fft, self.config.n_fft // 4)
        magnitude = spectrogram.abs().flatten(1, 2)  # (batch, channels · bins, frames)
        mask = self.mask(self.hidden(magnitude.log1p()).relu()).sigmoid()
        mask = mask.unflatten(1, (-1, *spectrogram.shape[1:3]))  # stems, channels, bins
        estimate = mask * spectrogram.unsqueeze(1)  # with the phase of the mixture
        return istft(estimate, self.config.n_fft // 4, length=mixture.shape[-1])
