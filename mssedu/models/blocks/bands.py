"""Band split and band merge: one small network for each band of a spectrogram.

Music has more structure per hertz at low frequencies, so bands are narrow there and
wide above. The split turns each band, however wide, into the same number of features,
so that the layers after it treat all bands alike. The merge does the inverse.

    (…, frames, sum of the widths)
      │ split ▸ per band: its own network, width ▸ features
    (…, frames, bands, features)
      │ layers over time and over bands
      │ per band: its own network, features ▸ width ▸ concatenate
    (…, frames, sum of the widths)

Used by: Band-Split RNN, BS-RoFormer, Mel-Band RoFormer.
Source: Luo and Yu 2023, "Music source separation with band-split RNN" (TASLP).
"""

from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import InputError, check_range

MOST_BANDS = 999


def check_bands(name: str, bands: Sequence[int], bins: int) -> None:
    """Raise InputError unless the bands cover every bin of a spectrogram once.

    Args:
        name: the field of the config that holds the bands.
        bands: the number of bins in each band, from low to high.
        bins: of the spectrogram.

    Example:
        >>> check_bands("bands", (2, 2, 4), 9)
        Traceback (most recent call last):
        mssedu.errors.InputError: bands must be at least 1 bin each and 9 bins together,
        got 3 bands of together 8 bins. Change the last band, or n_fft.
    """
    check_range(f"len({name})", len(bands), 1, MOST_BANDS)
    if min(bands) >= 1 and sum(bands) == bins:
        return
    raise InputError(
        f"{name} must be at least 1 bin each and {bins} bins together, got "
        f"{len(bands)} bands of together {sum(bands)} bins. Change the last band, or "
        "n_fft."
    )


class BandSplit(nn.Module):
    """Each band of features through its own network; the results side by side.

    Args:
        widths: features of each band, e.g. 2 · channels · bins.
        network: makes the network of a band from its width; it maps the axis `axis`
            from this width to a number of features that is the same for all bands.
        axis: of the features: -1 for (…, frames, features), -2 for (…, features,
            frames).
    """

    def __init__(
        self,
        widths: Sequence[int],
        network: Callable[[int], nn.Module],
        axis: int = -1,
    ) -> None:
        super().__init__()
        self.widths = list(widths)
        self.axis = axis
        self.networks = nn.ModuleList(network(width) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        """(…, frames, sum of widths) -> (…, frames, bands, features).

        With axis = -2: (…, sum of widths, frames) -> (…, bands, features, frames).
        """
        bands = zip(self.networks, x.split(self.widths, self.axis), strict=True)
        return torch.stack([net(band) for net, band in bands], self.axis - 1)


class BandMerge(nn.Module):
    """The inverse of `BandSplit`: from equal features to bands of their own widths.

    Args:
        widths: features of each band.
        network: makes the network of a band from its width; it maps the axis `axis`
            from the common number of features to this width.
        axis: as in `BandSplit`.
    """

    def __init__(
        self,
        widths: Sequence[int],
        network: Callable[[int], nn.Module],
        axis: int = -1,
    ) -> None:
        super().__init__()
        self.axis = axis
        self.networks = nn.ModuleList(network(width) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        """(…, frames, bands, features) -> (…, frames, sum of widths).

        With axis = -2: (…, bands, features, frames) -> (…, sum of widths, frames).
        """
        bands = zip(self.networks, x.unbind(self.axis - 1), strict=True)
        return torch.cat([net(band) for net, band in bands], self.axis)


def as_features(spectrogram: Tensor) -> Tensor:
    """The real numbers of each frame, those of a bin side by side.

    Args:
        spectrogram: (batch, channels, bins, frames), complex.

    Returns:
        (batch, frames, bins · channels · 2): real and imaginary part of each channel.

    Example:
        >>> as_features(torch.tensor([[[[1 + 2j], [3 + 4j]]]])).flatten()
        tensor([1., 2., 3., 4.])
    """
    # b batch, c channel, f bin, m frame, r real and imaginary part
    parts = torch.view_as_real(spectrogram)
    return rearrange(parts, "b c f m r -> b m (f c r)")


def as_mask(features: Tensor, spectrogram: Tensor) -> Tensor:
    """The inverse of `as_features`: complex factors for the bins of a spectrogram.

    Nothing is copied. Write `spectrogram * mask`, in this order: the product is then
    stored as the spectrogram is, frame after frame, and `istft` need not turn it.

    Args:
        features: (batch, frames, bins · channels · 2).
        spectrogram: (batch, channels, any bins, frames), complex; gives precision and
            channels.

    Returns:
        (batch, channels, bins, frames), complex.

    Example:
        >>> spectrogram = torch.tensor([[[[1 + 2j], [3 + 4j]]]])
        >>> bool((as_mask(as_features(spectrogram), spectrogram) == spectrogram).all())
        True
    """
    channels, precision = spectrogram.shape[1], spectrogram.real.dtype
    parts = rearrange(
        features.to(precision), "b m (f c r) -> b c f m r", c=channels, r=2
    )
    return torch.view_as_complex(parts)


def mask_network(width: int, n_out: int, hidden: int, n_hidden: int) -> nn.Sequential:
    """Linear layers with tanh between them, and GLU: from features to a mask.

    Args:
        width: features that come in.
        n_out: numbers of the mask.
        hidden: width of the hidden layers.
        n_hidden: number of hidden layers, at least 0.
    """
    parts: list[nn.Module] = []
    for _ in range(n_hidden):
        parts += [nn.Linear(width, hidden), nn.Tanh()]
        width = hidden
    return nn.Sequential(*parts, nn.Linear(width, 2 * n_out), nn.GLU())
