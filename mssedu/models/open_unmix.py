"""Open-Unmix: one recurrent network per stem, then a Wiener filter over all stems.

Each network reduces a frame of the magnitude spectrogram to 512 numbers, processes the
sequence of frames with a bidirectional LSTM, and expands the result to one factor for
every bin of the mixture's magnitude. The networks are independent of each other. The
multichannel Wiener filter then makes their estimates consistent with the mixture.

    mixture (batch, channels, samples)
      │ STFT, reflected ends
    spectrogram (batch, channels, 2049 bins, frames)
      │ magnitude; then, for each stem:
      │   lowest 1487 bins (16 kHz) ▸ shift, scale ▸ linear 512 ▸ batch norm ▸ tanh ─┐
      │   3 × LSTM, 256 units each way ◂─────────────────────────────────────────────┤
      │   beside its own input (1024) ◂──────────────────────────────────────────────┘
      │   linear 512 ▸ batch norm ▸ relu ▸ linear channels · 2049 ▸ batch norm
      │   scale, shift ▸ relu ▸ times the mixture's magnitude
    magnitude (batch, stems, channels, 2049 bins, frames)
      │ mixture's phase; in eval mode one EM step, 300 frames at a time
    estimate (batch, stems, channels, samples)

Paper: Stöter, Uhlich, Liutkus, Mitsufuji 2019, "Open-Unmix - A reference implementation
    for music source separation" (JOSS).
Origin: github.com/sigsep/open-unmix-pytorch (MIT), configuration "umxhq". The same
    weights give the same waveforms (tests/parity); the published: `mssedu.load_model`.
Differences: all stems are in one model and can be trained jointly. Training mode has no
    Wiener filter, as the authors train the networks alone. A single stem is filtered
    against a residual that is not returned; the original raises an error there. Zeros
    follow a mixture that is too short for reflection.
Left out: soft masks before the filter and asteroid's filterbanks: no published model
    has them.
Notebook: 08.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_range
from mssedu.models.blocks.magnitude import any_stft, bin_statistics, filter_windows
from mssedu.models.contract import check_config, check_stft
from mssedu.spectral import istft

LARGEST = {
    "n_fft": 2**20,
    "hop_length": 2**20,
    "bandwidth_hz": 10**6,
    "hidden": 16384,
    "n_layers": 16,
    "dropout": 1,
    "wiener_iterations": 999,
    "wiener_frames": 10**6,
}  # values of a config, see check_config


@dataclass(frozen=True)
class OpenUnmixConfig:
    """The defaults are umxhq, which was trained on MUSDB18-HQ."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 6.0  # seconds; the length in training
    n_fft: int = 4096
    hop_length: int = 1024
    bandwidth_hz: float = 16000.0  # the networks read the bins below, but write all
    hidden: int = 512  # width of the bottleneck
    n_layers: int = 3
    bidirectional: bool = True
    dropout: float = 0.4  # between the LSTM layers
    wiener_iterations: int = 1  # EM steps; 0 keeps the phase of the mixture
    wiener_frames: int = 300  # filtered together; sources should not move within them
    residual: bool = False  # one more source in the filter, for the rest; not returned

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        check_stft(self.n_fft, self.hop_length)
        check_range("bandwidth_hz", self.bandwidth_hz, 0, self.sample_rate / 2)
        check_range("n_layers", self.n_layers, 1)
        check_range("dropout", self.dropout, 0, 1, high_open=True)
        check_range("wiener_iterations", self.wiener_iterations, 0)
        check_range("wiener_frames", self.wiener_frames, 1)
        if self.hidden < 2 or self.hidden % 2:
            raise InputError(
                f"hidden must be even and at least 2, got {self.hidden}: each direction"
                " of the LSTM has half of it."
            )

    @property
    def bins(self) -> int:
        """Bins of the STFT."""
        return self.n_fft // 2 + 1

    @property
    def input_bins(self) -> int:
        """Bins up to `bandwidth_hz`, which the networks read."""
        return int(self.bandwidth_hz * self.n_fft / self.sample_rate) + 1


PRESETS = {
    "paper": OpenUnmixConfig(),
    # A long window with a wide hop costs least, and separates a kick drum from a bass
    # note best.
    "tiny": OpenUnmixConfig(
        n_fft=8192,
        hop_length=2048,
        bandwidth_hz=2000.0,
        hidden=22,
        dropout=0.0,
        residual=True,  # so small a network explains only a part of the mixture
    ),
}


class StemNetwork(nn.Module):
    """From the magnitude of the mixture to that of one stem; the origin's names."""

    def __init__(self, config: OpenUnmixConfig) -> None:
        super().__init__()
        self.input_bins = config.input_bins
        hidden, n_out = config.hidden, config.channels * config.bins
        # Published weights hold the negative mean and the reciprocal of the deviation.
        self.input_mean = nn.Parameter(torch.zeros(config.input_bins))
        self.input_scale = nn.Parameter(torch.ones(config.input_bins))
        self.fc1 = nn.Linear(config.channels * config.input_bins, hidden, bias=False)
        self.bn1 = nn.BatchNorm1d(hidden)
        self.lstm = nn.LSTM(
            hidden,
            hidden // 2 if config.bidirectional else hidden,
            config.n_layers,
            batch_first=True,
            bidirectional=config.bidirectional,
            dropout=config.dropout if config.n_layers > 1 else 0.0,
        )
        self.fc2 = nn.Linear(2 * hidden, hidden, bias=False)
        self.bn2 = nn.BatchNorm1d(hidden)
        self.fc3 = nn.Linear(hidden, n_out, bias=False)
        self.bn3 = nn.BatchNorm1d(n_out)
        self.output_scale = nn.Parameter(torch.ones(config.bins))
        self.output_mean = nn.Parameter(torch.ones(config.bins))
        # A module, so that mssedu.inspect.inside has a name for it.
        self.mask = nn.ReLU()

    def forward(self, magnitude: Tensor) -> Tensor:
        """(batch, channels, frames, bins) -> the same shape."""
        # b batch, c channel, m frame, f bin, d feature
        batch, channels = magnitude.shape[:2]
        x = (magnitude[..., : self.input_bins] + self.input_mean) * self.input_scale
        x = torch.tanh(self.bn1(self.fc1(rearrange(x, "b c m f -> (b m) (c f)"))))
        x = rearrange(x, "(b m) d -> b m d", b=batch)
        x = torch.cat([x, self.lstm(x)[0]], dim=-1)  # the LSTM's input as a shortcut
        x = F.relu(self.bn2(self.fc2(rearrange(x, "b m d -> (b m) d"))))
        x = self.bn3(self.fc3(x))
        x = rearrange(x, "(b m) (c f) -> b c m f", b=batch, c=channels)
        return self.mask(x * self.output_scale + self.output_mean) * magnitude


class OpenUnmix(nn.Module):
    """A network per stem and a Wiener filter; see above."""

    def __init__(self, config: OpenUnmixConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(StemNetwork(config) for _ in config.stems)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        samples = mixture.shape[-1]
        spectrogram, length = any_stft(mixture, config.n_fft, config.hop_length)
        separated = self.filter(self._stems(spectrogram.abs()), spectrogram)
        estimate = istft(separated, config.hop_length, length=length)
        return estimate[..., :samples]

    def magnitudes(self, mixture: Tensor) -> Tensor:
        """Magnitudes of the stems, (batch, stems, channels, bins, frames).

        They are what the authors compare in training, before filter and inverse STFT.
        """
        check_mixture(mixture, self.config.channels)
        return self._stems(self.magnitude(mixture))

    def magnitude(self, audio: Tensor) -> Tensor:
        """Magnitude of audio (…, samples): (…, bins, frames)."""
        config = self.config
        return any_stft(audio, config.n_fft, config.hop_length)[0].abs()

    def _stems(self, magnitude: Tensor) -> Tensor:
        # Frames before bins, as torch stores spectrograms: no copy is needed.
        stems = [network(magnitude.mT) for network in self.networks]
        return torch.stack(stems, dim=1).mT

    @torch.no_grad()
    def prepare(self, excerpts: Iterable[Tensor]) -> None:
        """Set shift and scale so that every input bin has mean 0 and deviation 1.

        This changes new networks only. A network whose shift and scale differ from
        their first values, 0 and 1, was trained or loaded, and keeps them.

        Args:
            excerpts: mixtures, (channels, samples) each, of the training set.
        """
        config = self.config
        new = [
            network
            for network in cast(Iterable[StemNetwork], self.networks)
            if not network.input_mean.any() and (network.input_scale == 1).all()
        ]
        if not new:
            return
        mean, deviation = bin_statistics(
            excerpts, config.n_fft, config.hop_length, config.input_bins
        )
        for network in new:
            network.input_mean.copy_(-mean)
            network.input_scale.copy_(1 / deviation)

    def filter(self, magnitude: Tensor, spectrogram: Tensor) -> Tensor:
        """Complex estimates, (batch, stems, channels, bins, frames).

        The filter works on `wiener_frames` at a time and distributes the whole mixture
        over its sources. With the residual as one more source, sound that belongs to no
        stem goes there. A single stem always has this residual.
        """
        config = self.config
        return filter_windows(
            magnitude,
            spectrogram,
            0 if self.training else config.wiener_iterations,
            config.wiener_frames,
            residual=config.residual,
        )
