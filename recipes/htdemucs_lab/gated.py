"""As nn, but the shares of the windows change with time."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from mssedu.models.htdemucs_resolutions import TINY, HTDemucsN, HTDemucsNNConfig


@dataclass(frozen=True)
class GatedConfig(HTDemucsNNConfig):
    smooth: int = 257  # samples over which a level is averaged


class Gate(nn.Module):
    def __init__(self, config: GatedConfig) -> None:
        super().__init__()
        self.smooth = config.smooth
        n = len(config.n_ffts)
        self.conv = nn.Conv1d(n, n, kernel_size=1)

    def forward(self, waveforms: Tensor) -> Tensor:
        levels = waveforms.abs().mean(3).flatten(0, 1)  # (…, resolutions, samples)
        levels = F.avg_pool1d(levels, self.smooth, 1, self.smooth // 2)
        shares = self.conv(levels).softmax(1).unflatten(0, waveforms.shape[:2])
        return (waveforms * shares[:, :, :, None]).sum(2)


class HTDemucsGated(HTDemucsN):
    def __init__(self, config: GatedConfig) -> None:
        super().__init__(config)
        self.fusion = Gate(config)


PRESETS = {
    "paper": GatedConfig(),
    "tiny": GatedConfig(n_ffts=(512, 1024, 2048), **TINY),
}
