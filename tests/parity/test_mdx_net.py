"""MDX-Net against stored outputs of the original; see make_mdx_net_golden.py."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from mssedu.models.mdx_net import BLEND, from_kuielab, mixer_from_kuielab
from mssedu.models.registry import create_model
from mssedu.weights.ensemble import blend
from mssedu.weights.loading import load_model
from tests.parity.peers import assert_close, diffq_stub, load_peer

HERE = Path(__file__).parent
ORIGINAL = runpy.run_path(str(HERE / "make_mdx_net_golden.py"))
GOLDEN = json.loads((HERE / "mdx_net_golden.json").read_text(encoding="utf-8"))
ORDER = ORIGINAL["ORDER"]

pytestmark = pytest.mark.parity


def new_model(case, stems):
    """With the weights of the original, for stems in an order of our own."""
    sizes, _, training = ORIGINAL["CASES"][case]
    sizes = {name: value for name, value in sizes.items() if name != "frames"}
    model = create_model("mdx_net", "paper", stems, mixer=len(stems) > 1, **sizes)
    for stem, network in zip(stems, model.networks, strict=True):
        values = ORIGINAL["weights"](ORIGINAL["CASES"][case][0], stem)
        state = {name: torch.from_numpy(value) for name, value in values.items()}
        network.load_state_dict(from_kuielab(state))
    if len(stems) > 1:
        weight = torch.from_numpy(ORIGINAL["mixer_weights"]())
        model.mixer.weight.data = mixer_from_kuielab(weight, stems)
    return model.train(training)


@pytest.mark.parametrize("case", sorted(ORIGINAL["CASES"]))
def test_same_weights_give_the_waveforms_of_the_original(case):
    sizes, stems, _ = ORIGINAL["CASES"][case]
    golden, ours = GOLDEN[case], stems[::-1]
    model = new_model(case, ours)
    mixture = torch.from_numpy(ORIGINAL["noise"](sizes))
    estimate = model(mixture)[:, [ours.index(stem) for stem in stems]]
    estimate.square().mean().backward()

    places = torch.from_numpy(ORIGINAL["places"](estimate.shape[-1]))
    expected = torch.tensor(golden["samples"])
    error = (estimate.detach()[..., places] - expected).abs().max()
    assert error <= 1e-5 * expected.abs().max()
    energy = torch.tensor(golden["energy"], dtype=torch.float64)
    ours_energy = estimate.detach().double().square().sum(-1)
    torch.testing.assert_close(ours_energy, energy, rtol=1e-5, atol=0)
    network = model.networks[ours.index(stems[0])]
    expected = from_kuielab(
        {n: torch.tensor(v) for n, v in golden["gradients"].items()}
    )
    # A norm of the batch takes away what the bias before it adds: only noise is left.
    atol = 1e-5 * float(max(expected.values()))
    for name, value in network.named_parameters():
        norm = value.grad.norm()
        torch.testing.assert_close(norm, expected.pop(name), rtol=1e-4, atol=atol)
    assert not expected


@pytest.mark.parametrize("case", sorted(ORIGINAL["CASES"]))
def test_parameters_are_those_of_the_original(case):
    stems = ORIGINAL["CASES"][case][1]
    model = new_model(case, stems)
    counts = [sum(p.numel() for p in n.parameters()) for n in model.networks]
    assert counts == GOLDEN[case]["parameters"]
    assert "paper" not in case or counts == [7_423_236]


@torch.no_grad()
@pytest.mark.parametrize("stem", ["vocals", "bass"])
def test_a_checkpoint_of_the_original_loads(stem, tmp_path):
    sizes = ORIGINAL["CASES"]["small"][0]
    values = ORIGINAL["weights"](sizes, stem)
    state = {name: torch.from_numpy(value) for name, value in values.items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "epoch=3.ckpt")
    model = load_model(tmp_path / "epoch=3.ckpt", stems=("dizi",))
    assert model.config.n_ffts == (ORIGINAL["N_FFT"][stem],)
    ours = new_model("small", (stem,))
    mixture = torch.from_numpy(ORIGINAL["noise"](sizes))
    assert torch.equal(model(mixture), ours(mixture))
    # The names of the submission, whose files do not hold the window
    renamed = {
        name.replace("encoding_blocks", "ds_dense")
        .replace("decoding_blocks", "us_dense")
        .replace("bottleneck_block", "mid_dense")
        .replace(".tfc.", "."): value
        for name, value in state.items()
        if name not in ("window", "freq_pad")
    }
    torch.save(renamed, tmp_path / "submitted.ckpt")
    model = load_model(tmp_path / "submitted.ckpt", stems=(stem,))
    assert torch.equal(model(mixture), ours(mixture))


@torch.no_grad()
def test_the_blend_is_that_of_the_submission():
    """As predict_blend.py computes it: base_out * b + demucs_out * (1 - b)."""
    stubs = {"diffq": diffq_stub()}
    original, utils = load_peer("demucs", "2.0.3", ["model", "utils"], stubs)
    torch.manual_seed(0)
    small = {"channels": 4, "depth": 3, "rescale": 0.0}
    theirs = original.Demucs(["drums", "bass", "other", "vocals"], **small).eval()
    demucs = create_model(
        "demucs", stems=("drums", "bass", "other", "vocals"), width=4, depth=3
    ).eval()
    demucs.load_state_dict(theirs.state_dict())
    mixture = torch.from_numpy(ORIGINAL["noise"](ORIGINAL["CASES"]["small"][0]))
    bag = blend(new_model("small", ORDER), demucs, BLEND)
    places = torch.from_numpy(ORIGINAL["places"](mixture.shape[-1]))
    estimate = bag(mixture)[..., places]

    demucs_out = torch.stack([utils.apply_model(theirs, item) for item in mixture])
    demucs_out = demucs_out[:, [1, 0, 2, 3]][..., places]  # bass before drums
    b = torch.tensor([0.5, 0.5, 0.7, 0.9])[:, None, None]
    base_out = torch.tensor(GOLDEN["small"]["samples"])
    assert_close(estimate, base_out * b + demucs_out * (1 - b))


def test_windows_are_those_of_the_original():
    model = create_model("mdx_net", stems=ORDER)
    windows = dict(zip(ORDER, model.config.n_ffts, strict=True))
    assert windows == ORIGINAL["N_FFT"]


def test_golden_file_holds_exactly_the_cases():
    assert sorted(GOLDEN) == sorted(ORIGINAL["CASES"])
