"""Filters of second order, the bands of a mixing desk, as frequency responses.

    kind, frequency, gain, quality ──biquad──▶ b, a ──biquad_response──▶ H(ω)

A spectrum is multiplied by the response: so a whole batch is filtered on any device.

Source: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients",
W3C Note 2021.
"""

import math

import torch
from torch import Tensor

from mssedu.errors import check_name


def biquad(
    kind: str, sample_rate: int, frequency_hz: Tensor, gain_db: Tensor, quality: Tensor
) -> tuple[Tensor, Tensor]:
    """Coefficients of filters of second order: (…, 3) of the numerator, (…, 3) below.

    Args:
        kind: "low_shelf", "high_shelf" or "peak".
        sample_rate: Hz.
        frequency_hz, gain_db, quality: of each filter, of one shape (…); the frequency
            is below half of the sample rate.

    Raises:
        InputError: an unknown kind.

    Example:
        >>> one = torch.ones(())
        >>> b, a = biquad("peak", 44100, 1000 * one, 0 * one, one)
        >>> torch.equal(a, b)  # a gain of 0 dB changes nothing
        True
    """
    check_name("kind", kind, ("low_shelf", "high_shelf", "peak"))
    # These few numbers need float64: at low frequencies they nearly cancel.
    frequency_hz, gain_db, quality = (
        value.cpu().double() for value in (frequency_hz, gain_db, quality)
    )
    gain, angle = 10 ** (gain_db / 40), 2 * math.pi * frequency_hz / sample_rate
    alpha = angle.sin() / (2 * quality)
    if kind == "peak":
        middle = -2 * angle.cos()
        b = [1 + alpha * gain, middle, 1 - alpha * gain]
        a = [1 + alpha / gain, middle, 1 - alpha / gain]
        return torch.stack(b, -1), torch.stack(a, -1)
    # A high shelf is a low shelf on a mirrored frequency axis.
    mirror = 1 if kind == "low_shelf" else -1
    cos, bend = mirror * angle.cos(), 2 * gain.sqrt() * alpha
    up, down = gain + 1, gain - 1
    b = [up - down * cos + bend, mirror * 2 * (down - up * cos), up - down * cos - bend]
    a = [
        up + down * cos + bend,
        -mirror * 2 * (down + up * cos),
        up + down * cos - bend,
    ]
    return torch.stack(b, -1) * gain[..., None], torch.stack(a, -1)


def biquad_response(
    b: Tensor, a: Tensor, n_fft: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Frequency response of filters (…, 3), (…, 3) at all bins, (…, bins) complex64.

    Numerator and denominator are each divided by exp(-i ω), and written with sin²(ω/2):
    so float32 is exact enough at low frequencies.

    Example:
        >>> b, a = torch.tensor([0.5, 0.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])
        >>> biquad_response(b, a, 4).abs()
        tensor([0.5000, 0.5000, 0.5000])
    """
    angle = math.pi / n_fft * torch.arange(n_fft // 2 + 1, device=device)
    power, slope = 2 * angle.sin().square(), (2 * angle).sin()

    def line(c: Tensor) -> Tensor:
        first, last = c[..., :1], c[..., 2:]
        total, even, odd = (
            each.float().to(device)
            for each in (c.sum(-1, keepdim=True), first + last, first - last)
        )
        return torch.complex(total - power * even, odd * slope)

    return line(b) / line(a)
