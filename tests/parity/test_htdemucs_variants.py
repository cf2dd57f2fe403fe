"""The variants of HTDemucs against stored outputs of the record, same weights."""

import json

import pytest
import torch

from tests.parity.make_htdemucs_variants_golden import (
    CASES,
    GOLDEN,
    our_model,
    outputs,
    places,
)

STORED = json.loads(GOLDEN.read_text("utf-8"))


def test_all_variants_are_stored():
    assert list(STORED) == list(CASES)
    assert len(CASES) == 14


@pytest.mark.parametrize("name", CASES)
def test_equal_weights_give_equal_waveforms(name):
    for mode, estimate in outputs(our_model(name)).items():
        expected = torch.tensor(STORED[name][mode])
        error = (estimate[0, :, :, places()] - expected).abs().max()
        assert error <= 1e-5 * expected.abs().max(), mode
