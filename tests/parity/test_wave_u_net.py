"""Wave-U-Net against stored outputs of the original; see make_wave_u_net_golden.py."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from mssedu.models.registry import create_model, model_config
from mssedu.models.wave_u_net import load_official, valid_lengths

HERE = Path(__file__).parent
ORIGINAL = runpy.run_path(str(HERE / "make_wave_u_net_golden.py"))
GOLDEN = json.loads((HERE / "wave_u_net_golden.json").read_text(encoding="utf-8"))

pytestmark = pytest.mark.parity


def assert_same(estimate, golden):
    places = torch.from_numpy(ORIGINAL["places"](estimate.shape[-1]))
    expected = torch.tensor(golden["samples"])
    error = (estimate[..., places] - expected).abs().max()
    assert error <= 1e-5 * expected.abs().max()
    energy = torch.tensor(golden["energy"], dtype=torch.float64)
    ours = estimate.double().square().sum(-1)
    torch.testing.assert_close(ours, energy, rtol=1e-5, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("case", sorted(ORIGINAL["CASES"]))
def test_same_weights_give_the_waveforms_of_the_original(case):
    changes, samples, training = ORIGINAL["CASES"][case]
    golden, config = GOLDEN["cases"][case], ORIGINAL["PAPER"] | changes
    model = create_model("wave_u_net", **config).train(training)
    load_official(model, ORIGINAL["variables"](changes))
    assert sum(p.numel() for p in model.parameters()) == golden["parameters"]

    input_length, _ = valid_lengths(model.config, samples)
    excerpt, mixture = (
        torch.from_numpy(ORIGINAL["noise"](config["channels"], length))[None]
        for length in (input_length, samples)
    )
    assert_same(model.valid(excerpt)[0], golden["excerpt"])
    assert_same(model(mixture)[0], golden["mixture"])


def test_clipping_is_among_the_cases():
    assert GOLDEN["cases"]["small"]["excerpt"]["clipped"] > 0
    assert GOLDEN["cases"]["small_training"]["excerpt"]["clipped"] == 0


def test_lengths_are_those_of_the_original():
    config = model_config("wave_u_net")
    ours = {str(n): [*valid_lengths(config, n)] for n in ORIGINAL["LENGTHS"]}
    assert ours == GOLDEN["lengths"]


def test_golden_file_holds_exactly_the_cases():
    assert sorted(GOLDEN["cases"]) == sorted(ORIGINAL["CASES"])
