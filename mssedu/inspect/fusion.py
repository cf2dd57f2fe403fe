"""What a model with several spectrograms learned: which window it uses for which stem.

    from mssedu.inspect import fusion_shares
    from mssedu.figures import fusion_figure
    fusion_figure(fusion_shares(model))

A short window shows when something begins, a long one which pitch it has. So one
expects short windows for drums and long ones for bass; the weights show whether it is
so.
"""

from typing import Any, cast

import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.models.contract import config_of


@torch.no_grad()
def fusion_shares(model: nn.Module) -> dict[str, dict[int, float]]:
    """Share of each spectrogram in the estimate of each stem, as its fusion weighs it.

    For a fusion with weights, as in htdemucs_nn, these are the weights. For one with a
    convolution, as in htdemucs_n and htdemucs_nf, a share is the root mean square of
    the kernel for that spectrogram, divided by the sum of all. Neither shows scales
    inside the networks of the spectrograms.

    Args:
        model: htdemucs_n, htdemucs_nn, htdemucs_nf, or one with the same parts.

    Returns:
        stem -> n_fft in samples -> share; the shares of a stem sum to 1.

    Raises:
        InputError: a model that joins no spectrograms, or mixes the stems meanwhile.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> shares = fusion_shares(create_model("htdemucs_nn"))
        >>> {n_fft: round(share, 3) for n_fft, share in shares["drums"].items()}
        {2048: 0.333, 4096: 0.333, 8192: 0.333}
    """
    fusion: Any = getattr(model, "fusion", None)
    shares = getattr(fusion, "shares", None)
    if shares is None:
        raise InputError(
            f"a {type(model).__name__} has no weights for each stem and spectrogram. "
            "Models with such weights: htdemucs_n, htdemucs_nn and htdemucs_nf."
        )
    config = cast(Any, config_of(model))
    return {
        stem: dict(zip(config.n_ffts, row.tolist(), strict=True))
        for stem, row in zip(config.stems, shares(), strict=True)
    }
