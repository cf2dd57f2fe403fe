"""The distortion filters of BSS Eval, and the parts of an estimate that they make.

    references ─┬─▶ correlations ─▶ Gram matrix, its factor ─▶ filters of all stems
    estimates  ─┘                                       └────▶ filters of one stem
    one frame, filters ─▶ target, P₁, P, estimate ─▶ energies of their differences

The algebra, and what the letters mean, stands in `bss_eval`, of which this is a part.
All is float64, on the device of the audio. Notebook: 04.
"""

from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

CORRELATION_BLOCK = 2**13  # FFT length for correlations, at least
GROUP = 8  # such blocks, computed together: these fit a fast cache
PROJECTION_BLOCK = 2**17  # samples of a projection computed at once
RIDGE = 1e-10  # on the diagonal of the Gram matrix, which is 1: its rounding errors
REFINEMENTS = 5  # of the solution with the ridge


@dataclass(frozen=True)
class Filters:
    """Frequency responses for pairs of a stem and the estimate taken for it."""

    every: Tensor  # (all channels in, estimates, channels out, bins): P of an estimate
    own: Tensor  # (channels in, pairs, channels out, bins): P₁, from the stem alone
    stems: Tensor  # (pairs): the stem of each pair
    taken: Tensor  # (pairs): its estimate
    reach: int  # samples that a filter looks back
    length: int  # samples of the blocks that the responses are for
    n_fft: int


def find_filters(
    references: Tensor,
    estimates: Tensor,
    taps: int,
    stems: Tensor,
    taken: Tensor,
    samples: int,
) -> Filters:
    """The filters that bring the references closest to the estimates.

    Args:
        references, estimates: (stems, channels, samples).
        taps: of each filter.
        stems, taken: (pairs), the stem of each pair and the estimate taken for it.
        samples: of the frames to be filtered.
    """
    n_stems, channels, _ = references.shape
    n = n_stems * channels
    correlation = correlations(references.flatten(0, 1), estimates.flatten(0, 1), taps)
    level = correlation[:, :n, taps - 1].diagonal().sqrt()
    # All channels at level 1, so that a quiet stem counts as much as a loud one.
    scale = torch.where(level > 0, 1 / level, 0.0)
    correlation *= scale[:, None, None]
    correlation[:, :n] *= scale[:, None]
    gram = toeplitz(correlation[:, :n], taps)
    gram.diagonal().add_(RIDGE)
    right = correlation[:, n:, taps - 1 :].transpose(1, 2).reshape(n * taps, -1)
    scale = scale.repeat_interleave(taps)[:, None]
    parts = [slice(None)]  # of the matrix: the whole, then each stem's own block
    size = channels * taps
    parts += [slice(start, start + size) for start in range(0, len(gram), size)]
    every, *own = (
        (scale[part] * least_squares(gram[part, part], right[part]))
        .view(-1, taps, n_stems, channels)
        .permute(0, 2, 3, 1)  # channels in, estimates, channels out, taps
        for part in parts
    )
    pairs = torch.stack(own, 1)[:, stems, taken]
    length = min(PROJECTION_BLOCK, samples + taps - 1)
    n_fft = next_fast_len(length + taps - 1, real=True)
    responses = torch.fft.rfft(every, n_fft), torch.fft.rfft(pairs, n_fft)
    return Filters(*responses, stems, taken, taps - 1, length, n_fft)


def correlations(inputs: Tensor, others: Tensor, taps: int) -> Tensor:
    """Σ x(t) y(t + lag) for x of `inputs` and y of both, lags -taps < lag < taps.

    (a, samples), (b, samples) -> (a, a + b, 2 · taps - 1) float64.
    """
    n, samples, reach = len(inputs), inputs.shape[-1], taps - 1
    n_fft = max(CORRELATION_BLOCK, 2 ** (4 * taps - 1).bit_length())
    step = n_fft - 2 * reach
    total = inputs.new_zeros(n_fft // 2 + 1, n, n + len(others), dtype=torch.complex128)
    for first in range(0, samples, GROUP * step):
        last = min(first + GROUP * step, samples)
        length = -((first - last) // step) * step + 2 * reach
        shown = [_excerpt(audio, first - reach, length) for audio in (inputs, others)]
        y = torch.cat(shown).unfold(-1, n_fft, step)  # (channels, blocks, n_fft)
        x = torch.fft.rfft(y[:n, :, reach : reach + step], n_fft).conj_physical()
        y = torch.fft.rfft(y)
        # Copied so that every frequency's matrices lie together: twice as fast.
        x, y = x.permute(2, 0, 1).contiguous(), y.permute(2, 1, 0).contiguous()
        total.baddbmm_(x, y)
    return torch.fft.irfft(total.permute(1, 2, 0), n_fft)[..., : 2 * reach + 1]


def toeplitz(correlation: Tensor, taps: int) -> Tensor:
    """AᵀA from the correlations: a Toeplitz block for every pair of channels."""
    n = len(correlation)
    rows = correlation.unfold(-1, taps, 1).flip(-1)  # [a, b, i, j] at lag i - j
    return rows.transpose(1, 2).reshape(n * taps, n * taps)


def least_squares(ridged: Tensor, right: Tensor) -> Tensor:
    """The solution of gram · x = right; that of least norm where there are many.

    A ridge at the height of the rounding errors keeps the factor finite; each
    refinement takes its effect away again where the matrix itself has something to
    say, and only there.

    Args:
        ridged: gram + RIDGE on its diagonal, (n, n).
        right: (n, columns).
    """
    factor = torch.linalg.cholesky(ridged)
    solution = torch.zeros_like(right)
    for _ in range(REFINEMENTS):
        missing = right - ridged @ solution + RIDGE * solution
        # Two steps: cholesky_solve would copy the factor every time.
        half = torch.linalg.solve_triangular(factor, missing, upper=False)
        solution += torch.linalg.solve_triangular(factor.mT, half, upper=True)
    return solution


# ---- the four parts of an estimate --------------------------------------------------


def energies_of_parts(
    reference: Tensor, estimate: Tensor, filters: Filters, filtered_target: bool
) -> Tensor:
    """Target, error, spatial error, P₁, interference, P, artifacts: (7, pairs).

    In blocks: what the filters make of a block needs `reach` samples before it.

    Args:
        reference, estimate: (stems, channels, samples), one frame.
        filtered_target: take P₁ for the target: then filtering is no error.
    """
    stems, taken = filters.stems, filters.taken
    reach, length = filters.reach, filters.length
    total = filters.every.new_zeros(7, len(stems), dtype=torch.float64)

    def filtered(response: Tensor, spectra: Tensor) -> Tensor:
        """Each output channel: the sum of all input channels, each filtered."""
        shaped = response[0] * spectra[0]
        for one, spectrum in zip(response[1:], spectra[1:], strict=True):
            shaped.addcmul_(one, spectrum)  # much faster than einsum
        return torch.fft.irfft(shaped, filters.n_fft)[..., reach : reach + length]

    for start in range(0, reference.shape[-1] + reach, length):
        block = _excerpt(reference, start - reach, length + reach)
        spectra = torch.fft.rfft(block, filters.n_fft)
        projected = filtered(filters.every, spectra.flatten(0, 1))[taken]
        alone = filtered(filters.own, spectra[stems].transpose(0, 1)[:, :, None])
        image, heard = block[stems, :, reach:], _excerpt(estimate, start, length)[taken]
        target = alone if filtered_target else image
        parts = (
            *(target, heard - target, alone - image, alone),
            *(projected - alone, projected, heard - projected),
        )
        total += torch.stack([part.square().sum((-2, -1)) for part in parts])
    return total


def _excerpt(audio: Tensor, start: int, length: int) -> Tensor:
    """(…, length) from `start` on, float64, with zeros beyond both ends."""
    first = max(start, 0)
    last = max(first, min(start + length, audio.shape[-1]))
    excerpt = audio.new_zeros(*audio.shape[:-1], length, dtype=torch.float64)
    excerpt[..., first - start : last - start] = audio[..., first:last]
    return excerpt
