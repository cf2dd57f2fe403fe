"""BSS Eval v4: what in an estimate is target, spatial error, interference, artifact.

    estimate = target + spatial error + interference + artifacts
    P₁ = the closest to the estimate that filters (512 taps) of the true stem can make
    P  = the closest that filters of all true stems together can make
    spatial error = P₁ - target     interference = P - P₁     artifacts = estimate - P

The algebra. Delayed copies of every channel of every reference are the columns of a
matrix A; the filters c that bring A c closest to an estimate e solve AᵀA c = Aᵀe. An
inner product of two delayed copies depends on the difference of their delays alone, so
AᵀA is made of Toeplitz blocks: 1023 correlations each instead of 512 × 512. They come
from FFTs of short blocks, added up in the frequency domain, so that memory does not
grow with the song. AᵀA does not depend on the estimate: one Cholesky factor serves all
of them, and the matrix of one stem alone is a block on its diagonal. SDR needs no
filter: whatever they are, the parts add up to the error.

Where AᵀA has no inverse (a stem that is mono on two channels, or given twice), the
filters are those of least norm. Nearly so it is for music that was ever compressed, as
nothing is left above 16 kHz: there museval's ISR, SIR and SAR hang on rounding errors
and move by up to decibels when the stems come in another order; ours stay. On sound
with a floor of noise, such as any file of 16 bit, both agree to 1e-6 dB.

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
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from mssedu.checks import InputError, check_finite, check_range, message

CORRELATION_BLOCK = 2**15  # FFT length for correlations, at least
GROUP = 8  # such blocks, computed together
PROJECTION_BLOCK = 2**17  # samples of a projection computed at once
RIDGE = 1e-10  # added to the Gram matrix of channels of level 1
REFINEMENTS = 5  # of the solution with the ridge


@dataclass(frozen=True)
class BSSEval:
    """Scores in dB, (stems, frames) float64 each; NaN where one is not defined."""

    sdr: Tensor  # target against everything else
    isr: Tensor  # target against spatial error
    sir: Tensor  # what filters of the stem explain, against interference
    sar: Tensor  # what filters of all stems explain, against artifacts
    permutation: Tensor  # (stems, frames): the estimate that was taken for each stem


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
            signal if None. The custom is one second for both.
        filter_length: taps of the distortion filters.
        framewise: new filters for every frame (v3) instead of one set (v4).
        permute: assign estimates to stems by the highest mean SIR.
        filtered_target: the stem may be filtered at no cost (`bss_eval_sources`).
        museval: where one stem is silent, no stem has a score, as museval has it; else
            a silent reference costs its own score only.

    Raises:
        InputError: shapes that differ, NaN, numbers out of range; with `museval`, a
            stem that is silent from start to end.
    """
    references, estimates = _checked(references, estimates, museval)
    n_stems, samples = len(references), references.shape[-1]
    check_range("bss_eval", "filter_length", filter_length, 1)
    frames = list(_frames(samples, window_length, hop_length))
    candidates = [tuple(range(n_stems))]
    if permute:
        candidates = list(permutations(range(n_stems)))
    pairs = sorted({pair for order in candidates for pair in enumerate(order)})
    result = references.new_full((4, n_stems, n_stems, len(frames)), torch.nan).double()
    filters = None
    for number, frame in enumerate(frames):
        reference, estimate = references[..., frame], estimates[..., frame]
        if museval and (_cancels(reference).any() or _cancels(estimate).any()):
            continue
        if filters is None or framewise:
            whole = (reference, estimate) if framewise else (references, estimates)
            filters = _all_filters(*whole, filter_length, pairs)
        for (stem, taken), energy in _energies(reference, estimate, *filters).items():
            result[:, stem, taken, number] = _decibels(energy, filtered_target)
    order = _best_order(result[2], candidates, framewise)
    scores = result.gather(2, order.expand(4, n_stems, len(frames))[:, :, None])[
        :, :, 0
    ]
    sdr, isr, sir, sar = scores
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
    """BSS Eval v3 of mono (sources, samples), where any filtered source is right.

    A filter that removes frequencies is no error then: prefer `bss_eval`.
    """
    return bss_eval(
        references=references[:, None],
        estimates=estimates[:, None],
        framewise=True,
        permute=permute,
        filtered_target=True,
    )


def _checked(
    references: Tensor, estimates: Tensor, museval: bool
) -> tuple[Tensor, Tensor]:
    where = "bss_eval"
    shapes = f"{tuple(references.shape)} and {tuple(estimates.shape)}"
    if references.ndim != 3 or references.shape != estimates.shape:
        remedy = "Cut both to the same stems, channels and samples first."
        wanted = "references and estimates of one shape (stems, channels, samples)"
        raise InputError(message(where, wanted, shapes, remedy))
    if not references.numel():
        remedy = "Give at least one sample of one stem."
        raise InputError(message(where, "sound", shapes, remedy))
    for name, audio in (("references", references), ("estimates", estimates)):
        check_finite(f"{where}, {name}", audio, 44100)
        silent = _cancels(audio).nonzero().flatten().tolist()
        if museval and silent:
            remedy = "Leave the stem out, or set museval=False."
            wanted = f"{name} that are not silent from start to end"
            raise InputError(message(where, wanted, f"silent stems {silent}", remedy))
    return references, estimates


def _cancels(audio: Tensor) -> Tensor:
    """Which stems museval calls silent, (stems,): the sum of their channels is 0."""
    return (audio.sum(1) == 0).all(-1)


def _frames(samples: int, window: int | None, hop: int | None) -> Iterator[slice]:
    """The frames that museval evaluates; what is left at the end is not."""
    window = samples if window is None else window
    hop = window if hop is None else hop
    check_range("bss_eval", "window_length", window, 1)
    check_range("bss_eval", "hop_length", hop, 1)
    for start in range(0, max(samples - window, 0) + 1, hop):
        yield slice(start, min(start + window, samples))


# ---- the distortion filters ---------------------------------------------------------


def _all_filters(
    references: Tensor, estimates: Tensor, taps: int, pairs: list[tuple[int, int]]
) -> tuple[Tensor, dict[tuple[int, int], Tensor]]:
    """Filters from all references, (estimates, channels out, channels in, taps).

    And those from one reference alone, for each pair (stem, estimate) that counts.
    """
    n_stems, channels, _ = references.shape
    correlation = _correlations(references.flatten(0, 1), estimates.flatten(0, 1), taps)
    n = n_stems * channels
    gram = _gram(correlation[:, :n], taps)
    right = correlation[:, n:, taps - 1 :].transpose(1, 2).reshape(n * taps, -1)
    every = _solve(gram, right).reshape(n, taps, n_stems, channels)
    right = right.reshape(n_stems, channels * taps, n_stems, channels)
    own = {}
    for stem in range(n_stems):
        taken = [k for j, k in pairs if j == stem]
        block = slice(stem * channels * taps, (stem + 1) * channels * taps)
        filters = _solve(gram[block, block], right[stem][:, taken].flatten(1))
        filters = filters.reshape(channels, taps, len(taken), channels)
        for k, one in zip(taken, filters.permute(2, 3, 0, 1), strict=True):
            own[stem, k] = one
    return every.permute(2, 3, 0, 1), own


def _correlations(inputs: Tensor, others: Tensor, taps: int) -> Tensor:
    """Σ x(t) y(t + lag) for x of `inputs` and y of both, lags -taps < lag < taps.

    (a, samples), (b, samples) -> (a, a + b, 2 · taps - 1) float64.
    """
    n, samples, reach = len(inputs), inputs.shape[-1], taps - 1
    n_fft = max(CORRELATION_BLOCK, 2 ** (4 * taps - 1).bit_length())
    step = n_fft - 2 * reach
    both = (inputs, others)
    total = inputs.new_zeros((), dtype=torch.complex128)
    for first in range(0, samples, GROUP * step):
        starts = range(first, min(first + GROUP * step, samples), step)
        y = torch.stack([_excerpts(both, start - reach, n_fft) for start in starts])
        x = torch.zeros_like(y[:, :n])
        x[..., :step] = y[:, :n, reach : reach + step]
        spectra = torch.fft.rfft(x).conj(), torch.fft.rfft(y)
        total = total + torch.einsum("kaf,kbf->fab", *spectra)
    return torch.fft.irfft(total.permute(1, 2, 0), n_fft)[..., : 2 * reach + 1]


def _gram(correlation: Tensor, taps: int) -> Tensor:
    """AᵀA from the correlations: a Toeplitz block for every pair of channels."""
    n = len(correlation)
    delay = torch.arange(taps, device=correlation.device)
    lag = taps - 1 + delay[:, None] - delay
    gram = correlation.new_empty(n, taps, n, taps)
    for a in range(n):
        for b in range(n):
            gram[a, :, b] = correlation[a, b][lag]
    return gram.view(n * taps, n * taps)


def _solve(gram: Tensor, right: Tensor) -> Tensor:
    """The solution of gram · x = right; that of least norm where there are many.

    Every unknown is scaled by the level of its channel, so that a quiet stem counts as
    much as a loud one. A ridge at the height of the rounding errors keeps the factor
    finite; each refinement takes its effect away again where the matrix itself has
    something to say, and only there.
    """
    level = gram.diagonal().sqrt()
    scale = torch.where(level > 0, 1 / level.clamp_min(1e-300), 0.0)
    gram, right = gram * scale * scale[:, None], right * scale[:, None]
    ridged = gram.clone()
    ridged.diagonal().add_(RIDGE)
    factor = torch.linalg.cholesky(ridged)
    solution = torch.zeros_like(right)
    for _ in range(REFINEMENTS):
        solution += torch.cholesky_solve(right - gram @ solution, factor)
    return scale[:, None] * solution


# ---- the four parts of an estimate --------------------------------------------------


# Rows: target, error, spatial error, P₁, e - P₁, interference, P, artifacts;
# columns: how much of target, e, P₁, P each of them holds
PARTS = (
    *((1, 0, 0, 0), (1, -1, 0, 0), (-1, 0, 1, 0), (0, 0, 1, 0)),
    *((0, 1, -1, 0), (0, 0, -1, 1), (0, 0, 0, 1), (0, 1, 0, -1)),
)


def _energies(
    reference: Tensor,
    estimate: Tensor,
    every: Tensor,
    own: dict[tuple[int, int], Tensor],
) -> dict[tuple[int, int], Tensor]:
    """The energies of PARTS, (8,), for every pair (stem, estimate).

    In blocks: what the filters make of a block needs taps - 1 samples before it.
    """
    samples, reach = reference.shape[-1], every.shape[-1] - 1
    length = min(PROJECTION_BLOCK, samples + reach)
    n_fft = next_fast_len(length + reach, real=True)
    response = torch.fft.rfft(every, n_fft)
    own_response = {pair: torch.fft.rfft(taps, n_fft) for pair, taps in own.items()}

    def filtered(response: Tensor, spectra: Tensor) -> Tensor:
        """Each output channel: the sum of all input channels, each filtered."""
        shaped = torch.einsum("...oaf,af->...of", response, spectra)
        return torch.fft.irfft(shaped, n_fft)[..., reach : reach + length]

    total = {pair: every.new_zeros(len(PARTS)) for pair in own}
    for start in range(0, samples + reach, length):
        block = _excerpt(reference, start - reach, length + reach)
        heard = _excerpt(estimate, start, length)
        spectra = torch.fft.rfft(block, n_fft)
        projected = filtered(response, spectra.flatten(0, 1))
        for (stem, k), energy in total.items():
            alone = filtered(own_response[stem, k], spectra[stem])
            signals = (block[stem, :, reach:], heard[k], alone, projected[k])
            parts = every.new_tensor(PARTS) @ torch.stack(signals).flatten(1)
            energy += parts.square().sum(1)
    return total


def _decibels(energy: Tensor, filtered_target: bool) -> Tensor:
    """SDR, ISR, SIR, SAR, (4,), from the energies of PARTS."""
    target, error, spatial, alone, rest, interference, projected, artifacts = energy
    isr = target / spatial
    if filtered_target:  # what the filters change of the stem is no error
        target, error, isr = alone, rest, torch.full_like(isr, torch.nan)
    ratios = (target / error, isr, alone / interference, projected / artifacts)
    return 10 * torch.stack(ratios).log10()


def _best_order(
    sir: Tensor, candidates: list[tuple[int, ...]], framewise: bool
) -> Tensor:
    """(stems, frames): the estimate for each stem, by the highest mean SIR."""
    n_stems, _, n_frames = sir.shape
    orders = torch.tensor(candidates, device=sir.device)
    if len(orders) == 1:
        return orders[0][:, None].expand(n_stems, n_frames)
    means = sir[torch.arange(n_stems, device=sir.device), orders].nanmean(1)
    if not framewise:
        means = means.nanmean(-1, keepdim=True)
    return orders[means.nan_to_num(-torch.inf).argmax(0)].T.expand(n_stems, n_frames)


def _excerpts(audios: tuple[Tensor, ...], start: int, length: int) -> Tensor:
    """`_excerpt` of several, one below the other."""
    return torch.cat([_excerpt(audio, start, length) for audio in audios])


def _excerpt(audio: Tensor, start: int, length: int) -> Tensor:
    """(…, length) from `start` on, float64, with zeros beyond both ends."""
    samples = audio.shape[-1]
    first, last = max(start, 0), min(max(start + length, 0), samples)
    inside = audio[..., first : max(first, last)].double()
    before = min(first - start, length)
    return F.pad(inside, (before, length - before - inside.shape[-1]))
