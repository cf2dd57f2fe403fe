"""Band-Split RNN against stored outputs of a replication; see make_bsrnn_golden.py."""

import json
import re
import runpy
from pathlib import Path

import pytest
import torch

from mssedu.errors import CheckpointError
from mssedu.models.registry import create_model
from mssedu.weights.loading import load_model

HERE = Path(__file__).parent
ORIGINAL = runpy.run_path(str(HERE / "make_bsrnn_golden.py"))
GOLDEN = json.loads((HERE / "bsrnn_golden.json").read_text(encoding="utf-8"))
FIELDS = {
    "feature_dim": "features",
    "num_repeat": "n_layers",
    "n_att_head": "attention_heads",
    "attn_enc_dim": "attention_features",
    "joint_bandsplit": "joint",
}

pytestmark = pytest.mark.parity


def model_for(targets, arguments):
    changes = {FIELDS[k]: v for k, v in arguments.items() if k in FIELDS}
    changes["average_channels"] = arguments.get("stereo") == "tac"
    return create_model("bsrnn", stems=targets, **changes).eval()


# Our names back to those of the original
TO_ORIGINAL = (
    (r"^networks\.0\.split\.networks\.", "BN."),
    (r"^networks\.0\.layers\.", "separator."),
    (r"^networks\.0\.masks\.(\d)\.networks\.", r"maskers.\1.mask."),
    (r"\.(time|band)\.norm\.", r".\1_net.norm."),
    (r"\.(time|band)\.lstm\.", r".\1_net.main_layer."),
    (r"\.(time|band)\.linear\.", r".\1_net.proj."),
    (r"\.channels\.(transform|average|concat)\.", r".tac_module.\1.0."),
    (r"\.channels\.activation\.", ".tac_module.transform.1."),
    (r"\.attention\.output\.", ".attn_block.attn_concat_proj."),
    (r"\.attention\.queries\.", ".attn_block.attn_conv_Q_"),
    (r"\.attention\.keys\.", ".attn_block.attn_conv_K_"),
    (r"\.attention\.values\.", ".attn_block.attn_conv_V_"),
    (r"(attn_\w+)\.2\.weight", r"\1.2.gamma"),
    (r"(attn_\w+)\.2\.bias", r"\1.2.beta"),
)


def as_original(model):
    """The state dict under the names of the original."""
    state = {}
    for name, tensor in model.state_dict().items():
        for ours, theirs in TO_ORIGINAL:
            name = re.sub(ours, theirs, name)
        state[name] = tensor.clone()
        if ".tac_module.transform.1." in name:  # one slope with three names
            for alias in ("average", "concat"):
                state[name.replace("transform", alias)] = tensor.clone()
    window = torch.hann_window(model.config.n_fft)
    return state | {"stft.transf.window": window, "istft.transf.window": window.clone()}


def load_values(model):
    for name, tensor in model.state_dict().items():
        value = ORIGINAL["value"](name, tuple(tensor.shape))
        tensor.copy_(torch.from_numpy(value))


def assert_same(ours, expected, limit):
    ours = ours.detach().flatten()[ORIGINAL["places"](ours.numel())].double()
    expected = torch.tensor(expected, dtype=torch.float64)
    assert (ours - expected).abs().max() <= limit * expected.abs().max()


@pytest.mark.parametrize("case", sorted(ORIGINAL["CASES"]))
def test_same_weights_give_the_waveforms_and_gradients_of_the_original(case):
    targets, arguments, samples = ORIGINAL["CASES"][case]
    golden, model = GOLDEN["cases"][case], model_for(targets, arguments)
    load_values(model)
    assert sum(p.numel() for p in model.parameters()) == golden["parameters"]

    mixture = torch.from_numpy(ORIGINAL["mixture"](samples))
    with torch.no_grad():
        assert_same(model(mixture), golden["estimate"], 1e-5)
    estimate = model.double()(mixture := mixture.double().requires_grad_())
    scalar = estimate * torch.from_numpy(ORIGINAL["weights_of_sum"](estimate.shape))
    (gradient,) = torch.autograd.grad(scalar.sum(), mixture)
    # The window of the original has single precision.
    assert_same(estimate, golden["estimate"], 1e-6)
    assert_same(gradient, golden["gradient"], 1e-6)
    energy = estimate.detach().square().sum(-1).flatten()
    expected = torch.tensor(golden["energy"], dtype=torch.float64)
    torch.testing.assert_close(energy, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("case", sorted(ORIGINAL["COUNTS"]))
def test_parameters_are_those_of_the_original(case):
    target, arguments = ORIGINAL["COUNTS"][case]
    model = model_for((target,), arguments)
    assert sum(p.numel() for p in model.parameters()) == GOLDEN["counts"][case]


@pytest.mark.parametrize("case", ["drums", "joint", "optimized"])
def test_files_of_the_original_are_loaded(case, tmp_path):
    targets, arguments, samples = ORIGINAL["CASES"][case]
    model = model_for(targets, arguments)
    load_values(model)
    state = as_original(model)
    assert ORIGINAL["layout"](state) == GOLDEN["cases"][case]["layout"]
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "a.ckpt")
    stems = targets if len(targets) == 1 else None  # else in the order of all files
    loaded = load_model(tmp_path / "a.ckpt", stems=stems)
    assert loaded.config.stems == targets
    assert loaded.config.bins_of(targets[0]) == model.config.bins_of(targets[0])
    mixture = torch.from_numpy(ORIGINAL["mixture"](samples))
    with torch.no_grad():
        assert torch.equal(loaded(mixture), model(mixture))


def test_bands_of_another_variant_are_refused(tmp_path):
    model = model_for(("bass",), ORIGINAL["SMALL"])
    state = as_original(model)
    merged = [f"BN.0.{name}" for name in ("0.weight", "0.bias")]
    for name in merged:
        state[name] = torch.zeros(6)  # 3 bins in place of 2
    torch.save(state, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="bands must be those of the paper"):
        load_model(tmp_path / "a.ckpt", stems=("bass",))


def test_golden_file_holds_exactly_the_cases():
    assert sorted(GOLDEN["cases"]) == sorted(ORIGINAL["CASES"])
    assert sorted(GOLDEN["counts"]) == sorted(ORIGINAL["COUNTS"])
