"""BSS Eval v4: what in an estimate is target, spatial error, interference, artifact.

    estimate = target + spatial error + interference + artifacts
    P₁ = the closest to the estimate that filters (512 taps) of the true stem can make
    P  = the closest that filters of all true stems together can make
    spatial error = P₁ - target     interference = P - P₁     artifacts = estimate - P

The algebra. Delayed copies of every channel of every reference are the columns of a
matrix A; the filters c that bring A c closest to an estimate e solve AᵀA c = Aᵀe. An
inner product of two delayed copies depends on the difference of their delays alone, so
AᵀA is made of Toeplitz blocks: 1023 correlations each instead of 512 × 512. They come
from FFTs of short blocks, whose products are added up in the frequency domain and go
back to lags once, so that memory does not grow with the song. AᵀA does not depend on
the estimate: one Cholesky factor serves all of them, and the matrix of one stem alone
is a block on its diagonal. The filters are transformed once; a frame then costs one FFT
per channel there and two back, for P and P₁ of all stems (`bss_filters`). SDR needs no
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
from torch import Tensor

from mssedu.errors import InputError, check_range, message
from mssedu.metrics.bss_filters import energies_of_parts, find_filters


@dataclass(frozen=True)
class BSSEval:
    """Scores in dB, (stems, frames) float64 each.

    NaN where the reference is silent in a frame: no ratio is defined there. With
    `museval=True`, NaN for all stems where any stem, true or estimated, is silent.
    Infinite where nothing is wrong; for a silent estimate SDR is 0.
    """

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
            a silent reference costs its own scores only.

    Raises:
        InputError: shapes that differ, NaN, numbers out of range; with `museval`, a
            stem that is silent from start to end.
    """
    references, estimates = _checked(references, estimates, museval)
    n_stems, samples = len(references), references.shape[-1]
    check_range("filter_length", filter_length, 1)
    frames = list(_frames(samples, window_length, hop_length))
    orders = permutations(range(n_stems)) if permute else [tuple(range(n_stems))]
    candidates = list(orders)
    pairs = sorted({pair for order in candidates for pair in enumerate(order)})
    stems, taken = (torch.tensor(side) for side in zip(*pairs, strict=True))
    result = references.new_full((4, n_stems, n_stems, len(frames)), torch.nan).double()
    filters = None
    for number, frame in enumerate(frames):
        reference, estimate = references[..., frame], estimates[..., frame]
        if museval and (_cancels(reference).any() or _cancels(estimate).any()):
            continue
        if filters is None or framewise:
            shown = (reference, estimate) if framewise else (references, estimates)
            length = reference.shape[-1]
            filters = find_filters(*shown, filter_length, stems, taken, length)
        energies = energies_of_parts(reference, estimate, filters, filtered_target)
        ratios = _decibels(energies, filtered_target)
        silent = ~reference.any(-1).any(-1)[stems]
        result[:, stems, taken, number] = torch.where(silent, torch.nan, ratios)
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
        _check_sound(f"{where}, {name}", audio, museval)
    return references, estimates


def _check_sound(where: str, audio: Tensor, museval: bool) -> None:
    finite = audio.isfinite()
    if not finite.all():
        stem, channel, sample = (~finite).nonzero()[0].tolist()
        place = f"the first in stem {stem}, channel {channel}, at sample {sample}"
        got = f"{int((~finite).sum())} NaN or Inf values, {place}"
        remedy = "Find out their origin; torch.nan_to_num(audio) makes them silence."
        raise InputError(message(where, "finite samples", got, remedy))
    silent = _cancels(audio).nonzero().flatten().tolist() if museval else []
    if silent:
        remedy = "Leave the stem out, or set museval=False."
        wanted = "stems that are not silent from start to end"
        raise InputError(message(where, wanted, f"silent stems {silent}", remedy))


def _cancels(audio: Tensor) -> Tensor:
    """Which stems museval calls silent, (stems,): the sum of their channels is 0."""
    return (audio.sum(1) == 0).all(-1)


def _frames(samples: int, window: int | None, hop: int | None) -> Iterator[slice]:
    """The frames that museval evaluates; what is left at the end is not."""
    window = samples if window is None else window
    hop = window if hop is None else hop
    check_range("window_length", window, 1)
    check_range("hop_length", hop, 1)
    for start in range(0, max(samples - window, 0) + 1, hop):
        yield slice(start, min(start + window, samples))


def _decibels(energies: Tensor, filtered_target: bool) -> Tensor:
    """SDR, ISR, SIR, SAR, (4, pairs)."""
    target, error, spatial, alone, interference, projected, artifacts = energies
    isr = torch.full_like(target, torch.nan) if filtered_target else target / spatial
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
