"""Doctests of the package: `torch` is there without an import line in each."""

from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True)
def _torch_in_doctests(doctest_namespace: dict[str, Any]) -> None:
    doctest_namespace["torch"] = torch
    torch.manual_seed(0)
