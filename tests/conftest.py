"""What all tests share: fixed seeds, and a Ctrl-C that arrives."""

import random
import signal

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c() -> None:
    """A shell's "&" starts the run with Ctrl-C ignored; some tests send one."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
