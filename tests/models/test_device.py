"""Devices by name, and "auto"."""

import pytest
import torch

from mssedu.errors import InputError, SetupError
from mssedu.models.contract import pick_device


@pytest.mark.parametrize(
    ("cuda", "mps", "kind"),
    [(True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest_device_there_is(monkeypatch, cuda, mps, kind):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device("auto").type == kind


def test_a_device_that_is_not_there_is_an_error(monkeypatch):
    with pytest.raises(InputError, match="gpu"):
        pick_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SetupError, match="no cuda device"):
        pick_device("cuda:1")
