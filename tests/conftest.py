"""What all tests share: fixed seeds."""

import random

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
