"""BSS Eval v4: what in an estimate is target, spatial error, interference, artifact.

    estimate = target + spatial error + interference + artifacts
    P₁ = the closest to the estimate that filters (512 taps) of the true stem can come
    P  = the closest that filters of all true stems together can come
    spatial error = P₁ - target     interference = P - P₁     artifacts = estimate - P

    references ─┬─▶ correlations ─▶ Gram matrix, its factor ─▶ filters of all stems
    estimates  ─┘                                       └────▶ filters of one stem
    one frame, filters ─▶ target, P₁, P, estimate ─▶ energies of their differences

Delayed copies of every channel of every reference are the columns of a matrix A; the
filters c that bring A c closest to an estimate e solve AᵀA c = Aᵀe. An inner product of
two delayed copies depends only on the difference of their delays, so AᵀA is made of
Toeplitz blocks: 1023 correlations each instead of 512 × 512. They are summed over the
FFTs of short blocks, so that memory does not grow with the song. One Cholesky factor of
AᵀA serves all estimates, and the matrix of one stem alone is a block on its diagonal.
The filters are transformed once; a frame then costs one FFT per channel and two inverse
ones, for P and P₁ of all stems. SDR needs no filters: the sum of the parts is always
the error. All is float64, on the device of the audio.

If AᵀA has no inverse (a stem that is mono on two channels, or given twice), the filters
of least norm are used. Music that was ever compressed is close to this case, as it has
nothing above 16 kHz: there museval's ISR, SIR and SAR change by some decibels with the
order of the stems; ours do not. On sound with a noise floor, such as any file of 16
bit, both agree to 1e-6 dB.

Papers: Vincent, Gribonval, Févotte 2006, "Performance measurement in blind audio source
separation"; Vincent et al. 2012 (images); Stöter, Liutkus, Ito 2018, "The 2018 signal
separation evaluation campaign" (v4: one filter for the whole song). Witnesses: museval
0.4.1 and mir_eval (both MIT); with `museval=True` the same numbers and the same gaps.
Notebook: 04.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from mssedu.errors import InputError, check_range
from mssedu.metrics.pairs import check_pair

CORRELATION_BLOCK = 2**13  # length of the FFTs for correlations, at least
GROUP = 8  # such blocks are computed together, because they fit a fast cache
PROJECTION_BLOCK = 2**17  # samples of a projection that are computed at once
RIDGE = 1e-10  # added to the diagonal of the Gram matrix, which is 1: rounding errors
REFINEMENTS = 5  # steps that remove the effect of the ridge from the solution


@dataclass(frozen=True)
class BSSEval:
    """Scores in dB, (stems, frames) float64 each.

    NaN in frames in which the reference is silent, or with `museval=True` any stem,
    true or estimated. Infinite for a perfect estimate; a silent one has SDR 0.
    """

    sdr: Tensor  # target against everything else
    isr: Tensor  # target against spatial error
    sir: Tensor  # what filters of the stem explain, against interference
    sar: Tensor  # what filters of all stems explain, against artifacts
    permutation: Tensor  # (stems, frames): the estimate that belongs to each stem


def bss_eval(
    *,
    references: Tensor,
    estimates: Tensor,
    window_length: int | None = None,
    hop_length: int | None = None,
    filter_length: int = 512,
    framewise: bool = False,
    permute: bool = False,
    filtered_target: bool = False,
    museval: bool = False,
) -> BSSEval:
    """Split each estimate into its four parts and compare their energies.

    Args:
        references, estimates: (stems, channels, samples), in any order if `permute`.
        window_length, hop_length: samples of a frame and between frames; the whole
            signal if None. One second for both is usual.
        filter_length: taps of the distortion filters.
        framewise: new filters for every frame (v3) instead of one set (v4).
        permute: assign estimates to stems by the highest mean SIR.
        filtered_target: a filtered stem is no error (`bss_eval_sources`).
        museval: as in museval, no stem has a score in a frame in which one is silent;
            otherwise a silent reference affects its own scores only.

    Raises:
        InputError: shapes that differ, NaN, numbers out of range; with `museval`, a
            stem that is silent from start to end.
    """
    _check_sounds(references, estimates, museval)
    n_stems, samples = len(references), references.shape[-1]
    check_range("filter_length", filter_length, 1)
    frames = list(_frames(samples, window_length, hop_length))
    candidates = list(permutations(range(n_stems))) if permute else [(*range(n_stems),)]
    pairs = sorted({pair for order in candidates for pair in enumerate(order)})
    stems, taken = (torch.tensor(side) for side in zip(*pairs, strict=True))
    result = references.new_full((4, n_stems, n_stems, len(frames)), torch.nan).double()
    filters = None
    for number, frame in enumerate(frames):
        reference, estimate = references[..., frame], estimates[..., frame]
        if museval and (_cancels(reference).any() or _cancels(estimate).any()):
            continue
        if filters is None or framewise:
            fit = (reference, estimate) if framewise else (references, estimates)
            length = reference.shape[-1]
            filters = find_filters(*fit, filter_length, stems, taken, length)
        target, error, spatial, alone, interference, projected, artifacts = (
            energies_of_parts(reference, estimate, filters, filtered_target)
        )
        isr = target / (torch.nan if filtered_target else spatial)
        ratios = (target / error, isr, alone / interference, projected / artifacts)
        decibels = 10 * torch.stack(ratios).log10()  # SDR, ISR, SIR, SAR: (4, pairs)
        silent = ~reference.any(-1).any(-1)[stems]
        result[:, stems, taken, number] = torch.where(silent, torch.nan, decibels)
    order = _best_order(result[2], candidates, framewise)
    chosen = order.expand(4, n_stems, len(frames))[:, :, None]
    sdr, isr, sir, sar = result.gather(2, chosen)[:, :, 0]
    return BSSEval(sdr, isr, sir, sar, order.cpu())


def bss_eval_images(
    *, references: Tensor, estimates: Tensor, permute: bool = True
) -> BSSEval:
    """BSS Eval v3 of (sources, channels, samples): one score for the whole signal."""
    return bss_eval(
        references=references, estimates=estimates, framewise=True, permute=permute
    )


def bss_eval_sources(
    *, references: Tensor, estimates: Tensor, permute: bool = True
) -> BSSEval:
    """BSS Eval v3 of mono (sources, samples), in which a filtered source is no error.

    Not even a filter that removes frequencies is an error: prefer `bss_eval`.
    """
    return bss_eval(
        references=references[:, None],
        estimates=estimates[:, None],
        framewise=True,
        permute=permute,
        filtered_target=True,
    )


def _check_sounds(references: Tensor, estimates: Tensor, museval: bool) -> None:
    names = ("references", "estimates")
    check_pair(references, estimates, ("stems", "channels", "samples"), names)
    for name, audio in zip(names, (references, estimates), strict=True):
        finite = audio.isfinite()
        if not finite.all():
            stem, channel, sample = (~finite).nonzero()[0].tolist()
            raise InputError(
                f"{name} have {int((~finite).sum())} NaN or Inf values, the first in "
                f"stem {stem}, channel {channel}, at sample {sample}."
            )
        silent = _cancels(audio).nonzero().flatten().tolist() if museval else []
        if silent:
            raise InputError(
                f"{name}: the stems {silent} are silent from start to end, and museval "
                "has no scores for such a track. Leave them out, or set museval=False."
            )


def _cancels(audio: Tensor) -> Tensor:
    """Which stems are silent for museval, (stems,): the sum of their channels is 0."""
    return (audio.sum(1) == 0).all(-1)


def _frames(samples: int, window: int | None, hop: int | None) -> Iterator[slice]:
    """The frames that museval evaluates, without a remainder at the end."""
    window = samples if window is None else window
    hop = window if hop is None else hop
    check_range("window_length", window, 1)
    check_range("hop_length", hop, 1)
    for start in range(0, max(samples - window, 0) + 1, hop):
        yield slice(start, min(start + window, samples))


def _best_order(
    sir: Tensor, candidates: list[tuple[int, ...]], framewise: bool
) -> Tensor:
    """(stems, frames): the estimate of each stem, by the highest mean SIR."""
    n_stems, _, n_frames = sir.shape
    orders = torch.tensor(candidates, device=sir.device)
    means = sir[torch.arange(n_stems, device=sir.device), orders].nanmean(1)
    if not framewise:
        means = means.nanmean(-1, keepdim=True)
    return orders[means.nan_to_num(-torch.inf).argmax(0)].T.expand(n_stems, n_frames)


# ---- filters ------------------------------------------------------------------------


@dataclass(frozen=True)
class Filters:
    """Frequency responses for pairs of a stem and one estimate of it."""

    every: Tensor  # (all channels in, estimates, channels out, bins): P of an estimate
    own: Tensor  # (channels in, pairs, channels out, bins): P₁, from the stem alone
    stems: Tensor  # (pairs): the stem of each pair
    taken: Tensor  # (pairs): its estimate
    reach: int  # samples of the past that a filter needs
    length: int  # samples of the blocks that the responses are made for
    n_fft: int


def find_filters(
    references: Tensor,
    estimates: Tensor,
    taps: int,
    stems: Tensor,
    taken: Tensor,
    samples: int,
) -> Filters:
    """The filters of the references that come closest to the estimates.

    Pair i is the stem stems[i] and the estimate taken[i]; the filters are prepared for
    frames of so many samples.
    """
    n_stems, channels, _ = references.shape
    n = n_stems * channels
    correlation = correlations(references.flatten(0, 1), estimates.flatten(0, 1), taps)
    level = correlation[:, :n, taps - 1].diagonal().sqrt()
    # All channels get the level 1, so that a quiet stem counts as much as a loud one.
    scale = torch.where(level > 0, 1 / level, 0.0)
    correlation *= scale[:, None, None]
    correlation[:, :n] *= scale[:, None]
    gram = toeplitz(correlation[:, :n], taps)
    gram.diagonal().add_(RIDGE)
    right = correlation[:, n:, taps - 1 :].transpose(1, 2).reshape(n * taps, -1)
    scale = scale.repeat_interleave(taps)[:, None]

    def solved(part: slice) -> Tensor:
        """The filters of a part of the sources, from its block on the diagonal."""
        taps_of_all = scale[part] * least_squares(gram[part, part], right[part])
        # -> channels in, estimates, channels out, taps
        return taps_of_all.view(-1, taps, n_stems, channels).permute(0, 2, 3, 1)

    size = channels * taps
    every = solved(slice(None))
    own = [solved(slice(at, at + size)) for at in range(0, len(gram), size)]
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
        excerpts = [_excerpt(x, first - reach, length) for x in (inputs, others)]
        y = torch.cat(excerpts).unfold(-1, n_fft, step)  # (channels, blocks, n_fft)
        x = torch.fft.rfft(y[:n, :, reach : reach + step], n_fft).conj_physical()
        y = torch.fft.rfft(y)
        # Copies with the matrices of a frequency side by side are twice as fast.
        x, y = x.permute(2, 0, 1).contiguous(), y.permute(2, 1, 0).contiguous()
        total.baddbmm_(x, y)
    return torch.fft.irfft(total.permute(1, 2, 0), n_fft)[..., : 2 * reach + 1]


def toeplitz(correlation: Tensor, taps: int) -> Tensor:
    """AᵀA from the correlations: a Toeplitz block for every pair of channels."""
    n = len(correlation)
    rows = correlation.unfold(-1, taps, 1).flip(-1)  # [a, b, i, j] at lag i - j
    return rows.transpose(1, 2).reshape(n * taps, n * taps)


def least_squares(ridged: Tensor, right: Tensor) -> Tensor:
    """The solution of gram · x = right, or that of least norm if there are many.

    `ridged` is gram + RIDGE on its diagonal. A ridge as large as the rounding errors
    keeps the factor finite; each refinement removes its effect again in the directions
    that the matrix itself determines.
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

    Of one frame, in blocks; a filtered block needs `reach` samples before it. With
    `filtered_target`, P₁ is the target, so that filtering is no error.
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
        image, whole = block[stems, :, reach:], _excerpt(estimate, start, length)[taken]
        target = alone if filtered_target else image
        parts = [target, whole - target, alone - image, alone]
        parts += [projected - alone, projected, whole - projected]
        total += torch.stack([part.square().sum((-2, -1)) for part in parts])
    return total


def _excerpt(audio: Tensor, start: int, length: int) -> Tensor:
    """(…, length) from `start`, float64, with zeros beyond both ends."""
    first = max(start, 0)
    last = max(first, min(start + length, audio.shape[-1]))
    excerpt = audio.new_zeros(*audio.shape[:-1], length, dtype=torch.float64)
    excerpt[..., first - start : last - start] = audio[..., first:last]
    return excerpt
