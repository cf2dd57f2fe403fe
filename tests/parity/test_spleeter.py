"""Spleeter against stored outputs of the original; see make_spleeter_golden.py."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from mssedu.models.registry import create_model
from mssedu.models.spleeter import load_official

HERE = Path(__file__).parent
ORIGINAL = runpy.run_path(str(HERE / "make_spleeter_golden.py"))
GOLDEN = json.loads((HERE / "spleeter_golden.json").read_text(encoding="utf-8"))

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("case", sorted(ORIGINAL["CASES"]))
def test_same_weights_give_the_waveforms_of_the_original(case):
    preset, changes, samples = ORIGINAL["CASES"][case]
    golden = GOLDEN["cases"][case]
    model = create_model("spleeter", preset, **changes).eval()
    n_stems, filters = len(model.config.stems), model.config.filters
    load_official(model, ORIGINAL["variables"](n_stems, filters))
    mixture = torch.from_numpy(ORIGINAL["mixture"](samples))
    with torch.no_grad():
        estimate = model(mixture[None])[0]

    assert sum(p.numel() for p in model.parameters()) == golden["parameters"]
    expected = torch.tensor(golden["samples"])
    error = (estimate[..., ORIGINAL["places"](samples)] - expected).abs().max()
    assert error <= 1e-5 * expected.abs().max()
    energy = estimate.double().square().sum(-1)
    torch.testing.assert_close(
        energy, torch.tensor(golden["energy"], dtype=torch.float64), rtol=1e-5, atol=0
    )


def test_golden_file_holds_exactly_the_cases():
    assert sorted(GOLDEN["cases"]) == sorted(ORIGINAL["CASES"])
