"""What all tests share: fixed seeds, a Ctrl-C that arrives, and examples of one kind.

Hypothesis draws the same examples in each run, so that a red run comes from a change.
To look for new ones: `pytest --hypothesis-profile search`, again and again.
"""

import random
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("search", derandomize=False)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests keep for later is not for the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSSEDU_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c() -> None:
    """A shell's "&" starts the run with Ctrl-C ignored; some tests send one."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
