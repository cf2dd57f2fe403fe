"""Inputs and weights for tests of models: noise, and no parameter at its default."""

import torch


def noise(*shape, seed=1, dtype=torch.float32):
    """The same normal noise in every call, of deviation 1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def randomized(module):
    """A module in which every scale matters and no bias is zero."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.5
        parameter.data.normal_(0.0, scale, generator=generator)
    return module
