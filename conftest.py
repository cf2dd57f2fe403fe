"""Test runs: a short spin of waiting threads; doctests need no line to import torch."""

from typing import Any

import pytest

from mssedu.separation.threads import short_spin

# Before torch is loaded. Workers of pytest-xdist and kernels of nbval inherit it.
short_spin()


@pytest.fixture(autouse=True)
def _torch_in_doctests(doctest_namespace: dict[str, Any]) -> None:
    import torch

    doctest_namespace["torch"] = torch
    torch.manual_seed(0)
