"""What several scores share: the check of their input, and a fit by least squares."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mssedu.errors import InputError, check_tensor

RANK = 1e-10  # sources that differ by less of their energy count as one
ANY = "…"  # first axis of a check: any number of leading axes
AXES = (ANY, "channels", "samples")


def check_pair(
    reference: Tensor,
    estimate: Tensor,
    axes: Sequence[str] = AXES,
    names: tuple[str, str] = ("reference", "estimate"),
) -> None:
    """Raise InputError unless two float tensors have one shape, with these axes.

    Args:
        reference, estimate: sounds of at least one sample.
        axes: what each axis means; `ANY` stands for any number of leading axes.
        names: of the arguments, for the error.

    Example:
        >>> check_pair(torch.ones(2, 100), torch.ones(2, 99))
        Traceback (most recent call last):
        mssedu.errors.InputError: reference and estimate must have one shape (…,
        channels, samples), got (2, 100) and (2, 99).
    """
    for name, tensor in zip(names, (reference, estimate), strict=True):
        check_tensor(name, tensor)
    shapes = f"{tuple(reference.shape)} and {tuple(estimate.shape)}"
    both, n_axes = " and ".join(names), len(axes) - (axes[0] == ANY)
    has_axes = reference.ndim == n_axes or (axes[0] == ANY and reference.ndim > n_axes)
    if reference.shape != estimate.shape or not has_axes:
        raise InputError(
            f"{both} must have one shape ({', '.join(axes)}), got {shapes}."
        )
    if 0 in reference.shape[-n_axes:]:
        raise InputError(f"{both} are empty: {shapes}. Give at least one sample.")
    if not (reference.is_floating_point() and estimate.is_floating_point()):
        raise InputError(
            f"{both} must be of a float type, got {reference.dtype} and "
            f"{estimate.dtype}. Convert them to samples between -1 and 1."
        )


def fit_sources(gram: Tensor, cross: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gains of sources whose sum is closest to each estimate: least squares.

    Every source is scaled to unit energy first, so that quiet ones count as much as
    loud ones. Equal sources share their gain; a silent source has none.

    Args:
        gram: inner products of the sources, (…, sources, sources) float64.
        cross: inner products of sources and estimates, (…, sources, estimates).

    Returns:
        gains of the scaled sources, their inner products with the estimates, and the
        inverse of their Gram matrix.
    """
    energy = gram.diagonal(dim1=-2, dim2=-1)
    unit = torch.where(energy > 0, energy.rsqrt(), 0.0)
    gram, cross = gram * unit[..., None] * unit[..., None, :], cross * unit[..., None]
    inverse = torch.linalg.pinv(gram, hermitian=True, rtol=RANK)
    return inverse @ cross, cross, inverse
