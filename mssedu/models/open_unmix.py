"""Open-Unmix: one recurrent network per stem, and a Wiener filter that reconciles them.

Each network squeezes a frame of the magnitude spectrogram to 512 numbers, lets a
bidirectional LSTM compare it with what comes before and after, and expands it to a
factor for every bin of the mixture's magnitude. The networks know nothing of one
another; the multichannel Wiener filter makes their estimates fit the mixture together.

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
for music source separation" (JOSS). Origin: github.com/sigsep/open-unmix-pytorch (MIT),
here the configuration "umxhq". With the same weights this file gives the same waveforms
(tests/parity); `load_official` reads the published ones.

Where it differs: all stems live in one model and can be trained jointly. Training mode
leaves out the Wiener filter, as the authors train the networks alone. A single stem is
filtered against a residual that is not returned, where the original raises an error. A
mixture too short to be reflected gets zeros at its end first. Notebook: 08.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import (
    CheckpointError,
    InputError,
    check_mixture,
    check_name,
    check_range,
    message,
)
from mssedu.masks import wiener
from mssedu.models.blocks import check_config, check_stft
from mssedu.spectral import istft, stft


@dataclass(frozen=True)
class OpenUnmixConfig:
    """Defaults: umxhq, trained on MUSDB18-HQ."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 6.0  # seconds, as in training
    n_fft: int = 4096
    hop_length: int = 1024
    bandwidth_hz: float = 16000.0  # the networks read the bins up to here, write all
    hidden: int = 512  # width of the bottleneck
    n_layers: int = 3
    bidirectional: bool = True
    dropout: float = 0.4  # between the LSTM layers
    wiener_iterations: int = 1  # 0: the mixture's phase is all
    wiener_frames: int = 300  # filtered together, as if the sources stood still
    residual: bool = False  # filter against what the networks left too; not returned

    def __post_init__(self) -> None:
        where = "OpenUnmixConfig"
        check_config(self)
        check_stft(where, self.n_fft, self.hop_length)
        check_range("bandwidth_hz", self.bandwidth_hz, 0, self.sample_rate / 2)
        check_range("n_layers", self.n_layers, 1)
        check_range("dropout", self.dropout, 0, 1, high_open=True)
        check_range("wiener_iterations", self.wiener_iterations, 0)
        check_range("wiener_frames", self.wiener_frames, 1)
        if self.hidden < 2 or self.hidden % 2:
            remedy = "Each direction of the LSTM takes half of it."
            raise InputError(message(where, "an even hidden ≥ 2", self.hidden, remedy))

    @property
    def bins(self) -> int:
        """Of the STFT."""
        return self.n_fft // 2 + 1

    @property
    def input_bins(self) -> int:
        """Those up to `bandwidth_hz`."""
        return int(self.bandwidth_hz * self.n_fft / self.sample_rate) + 1


PRESETS = {
    "paper": OpenUnmixConfig(),
    # A long window at a wide hop costs least and tells a kick from a bass note best.
    "tiny": OpenUnmixConfig(
        n_fft=8192,
        hop_length=2048,
        bandwidth_hz=2000.0,
        hidden=22,
        dropout=0.0,
        residual=True,  # it leaves much unclaimed
    ),
}


class StemNetwork(nn.Module):
    """Magnitude of one stem from the mixture's; parameters named as in the origin."""

    def __init__(self, config: OpenUnmixConfig) -> None:
        super().__init__()
        self.input_bins = config.input_bins
        hidden, n_out = config.hidden, config.channels * config.bins
        # The published values are the negative mean and the reciprocal deviation.
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
        self.mask = (
            nn.ReLU()
        )  # a module, so that mssedu.inspect.inside has a name for it

    def has_new_input(self) -> bool:
        """Whether shift and scale of the input are as in a new network: 0 and 1."""
        return bool((self.input_mean == 0).all() and (self.input_scale == 1).all())

    def forward(self, magnitude: Tensor) -> Tensor:
        """(batch, channels, frames, bins) -> the same shape."""
        batch, channels = magnitude.shape[:2]
        x = (magnitude[..., : self.input_bins] + self.input_mean) * self.input_scale
        x = torch.tanh(self.bn1(self.fc1(rearrange(x, "b c m f -> (b m) (c f)"))))
        x = rearrange(x, "(b m) d -> b m d", b=batch)
        x = torch.cat([x, self.lstm(x)[0]], dim=-1)
        x = F.relu(self.bn2(self.fc2(rearrange(x, "b m d -> (b m) d"))))
        x = self.bn3(self.fc3(x))
        x = rearrange(x, "(b m) (c f) -> b c m f", b=batch, c=channels)
        return self.mask(x * self.output_scale + self.output_mean) * magnitude


class OpenUnmix(nn.Module):
    """A network per stem and a Wiener filter; see the head of this file."""

    def __init__(self, config: OpenUnmixConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(StemNetwork(config) for _ in config.stems)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        samples = mixture.shape[-1]
        missing = max(config.n_fft // 2 + 1 - samples, 0)  # to have enough to reflect
        padded = F.pad(mixture, (0, missing))
        spectrogram = stft(padded, config.n_fft, config.hop_length, pad_mode="reflect")
        # Frames before bins, as torch lays out spectrograms in memory.
        heard = spectrogram.abs().mT
        magnitude = torch.stack([network(heard) for network in self.networks], dim=1).mT
        separated = self.filter(magnitude, spectrogram)
        estimate = istft(separated, config.hop_length, length=samples + missing)
        return estimate[..., :samples]

    @torch.no_grad()
    def prepare(self, excerpts: Iterable[Tensor]) -> None:
        """Set the input of each new network to mean 0 and deviation 1 in every bin.

        A network whose values are no longer those of a new one was trained or loaded:
        its values are learned, and stay.

        Args:
            excerpts: mixtures, (channels, samples) each, of the training set.
        """
        config = self.config
        new = [
            network
            for network in self.networks
            if isinstance(network, StemNetwork) and network.has_new_input()
        ]
        if not new:
            return
        heard = [
            stft(excerpt, config.n_fft, config.hop_length).abs() for excerpt in excerpts
        ]
        frames = torch.cat(heard, dim=-1)[:, : config.input_bins].mean(0)
        deviation, mean = torch.std_mean(frames, dim=-1)
        # A bin that is nearly always empty must not be blown up to noise.
        scale = 1 / deviation.clamp_min(1e-4 * deviation.max().clamp_min(1e-9))
        for network in new:
            network.input_mean.copy_(-mean)
            network.input_scale.copy_(scale)

    def filter(self, magnitude: Tensor, spectrogram: Tensor) -> Tensor:
        """Complex estimates, (batch, stems, channels, bins, frames), window by window.

        EM shares out the whole mixture. With the residual as one more rival, sound that
        no network claims goes there and not to the stems; a single stem always has it.
        """
        n_stems, size = len(self.networks), self.config.wiener_frames
        residual = self.config.residual or n_stems == 1
        n_iterations = 0 if self.training else self.config.wiener_iterations
        windows = zip(
            magnitude.split(size, dim=-1), spectrogram.split(size, dim=-1), strict=True
        )
        filtered = [wiener(*w, n_iterations, residual=residual) for w in windows]
        return torch.cat(filtered, dim=-1)[:, :n_stems]


def load_official(
    model: OpenUnmix, state_dicts: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Load the published weights, one state dict per target, into `model`.

    Args:
        model: with the configuration that the weights were trained in.
        state_dicts: target -> state dict, e.g. of "vocals-b62c91ce.pth"; those of
            targets that are not among the model's stems are left alone. STFT windows
            and the sample rate, which some files hold too, are skipped.

    Raises:
        InputError: a stem of the model has no state dict.
        CheckpointError: the weights belong to another configuration.
    """
    for stem, network in zip(model.config.stems, model.networks, strict=True):
        check_name("target", stem, state_dicts)
        try:
            network.load_state_dict(weights_of(state_dicts[stem]))
        except RuntimeError as error:
            wanted = f"weights of {stem!r} that fit {model.config}"
            remedy = "Create the model with the configuration they were trained in."
            raise CheckpointError(
                message("load_official", wanted, error, remedy)
            ) from error


def weights_of(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict without STFT windows and rate, which some files hold."""
    return {
        name: value
        for name, value in state_dict.items()
        if name != "sample_rate" and not name.endswith(".window")
    }
