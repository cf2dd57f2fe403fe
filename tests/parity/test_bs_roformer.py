"""BS-RoFormer against pymss-core and the package BS-RoFormer, with the same weights."""

import warnings

import pytest
import torch

from mssedu.models.registry import create_model
from mssedu.weights.convert import port
from mssedu.weights.foreign import Weights
from tests.parity.peers import assert_close, import_reference, mixture, randomize

pymss = import_reference("pymss_core.modules.bs_roformer")
lucidrains = import_reference("bs_roformer")

pytestmark = pytest.mark.parity

SMALL = {"dim": 24, "depth": 2, "heads": 3, "dim_head": 8}
BANDS = (1,) * 5 + (4,) * 6 + (36, 64)  # of n_fft = 256
STFT = {"stft_n_fft": 256, "stft_hop_length": 64, "stft_win_length": 256}
SHORT = {**SMALL, **STFT, "freqs_per_bands": BANDS}
DEPTHS = {"time_transformer_depth": 1, "freq_transformer_depth": 1}


def original(package, **arguments):
    """A network of another package, with random weights."""
    arguments = {"stereo": True, **DEPTHS, **arguments}
    with warnings.catch_warnings(action="ignore"):  # both probe an STFT without window
        return randomize(package.BSRoformer(**arguments, flash_attn=False), 0.1)


def ours(state, n_stems, **changes):
    """Our model with the weights of a public state dict."""
    ported = port(Weights(state), "x", [f"stem {i}" for i in range(n_stems)])
    assert ported.model == "bs_roformer"
    model = create_model(ported.model, **(ported.config | changes))
    model.load_state_dict(ported.state)
    return model


@pytest.mark.parametrize(
    ("arguments", "n_stems", "channels", "changes"),
    [
        (SHORT, 1, 2, {"hop_length": 64}),
        (SHORT, 3, 1, {"hop_length": 64}),
        ({**SHORT, "zero_dc": True}, 2, 2, {"hop_length": 64, "zero_dc": True}),
        ({**SHORT, "mask_estimator_depth": 4}, 2, 2, {"hop_length": 64}),
        ({**SHORT, "mlp_expansion_factor": 2}, 2, 2, {"hop_length": 64}),
        ({**SMALL, "stft_hop_length": 441}, 2, 2, {}),
    ],
)
def test_pymss_gives_the_same_waveforms(arguments, n_stems, channels, changes):
    arguments = {"stereo": channels == 2, **arguments}
    theirs = original(pymss, num_stems=n_stems, **arguments)
    model = ours(theirs.state_dict(), n_stems, **changes).eval()
    audio = mixture(20_001, channels)
    with torch.no_grad():
        estimate = theirs.eval()(audio).reshape(2, n_stems, channels, -1)
        assert_close(model(audio), estimate)


def test_the_sizes_are_read_from_the_tensors():
    theirs = original(pymss, num_stems=2, mask_estimator_depth=3, **SHORT)
    config = ours(theirs.state_dict(), 2, hop_length=64).config
    assert (config.width, config.n_layers, config.n_heads) == (24, 2, 3)
    assert (config.head_width, config.mask_layers, config.mask_scale) == (8, 2, 4)
    assert (config.channels, config.n_fft, config.bands) == (2, 256, BANDS)


def test_pymss_gives_the_same_gradients():
    theirs = original(pymss, num_stems=2, **SHORT)
    model = ours(theirs.state_dict(), 2, hop_length=64)
    audio = mixture(5000)
    for network in (theirs, model):
        network(audio).square().mean().backward()
    gradients = {n: p.grad for n, p in theirs.named_parameters() if p.requires_grad}
    expected = port(Weights(gradients), "x", ["a", "b"]).state
    own = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert own.keys() == expected.keys()
    for name, gradient in own.items():
        assert_close(gradient, expected[name])


def test_the_package_of_the_first_implementation_gives_the_same_waveforms():
    theirs = original(
        lucidrains, num_stems=2, num_residual_streams=1, zero_dc=True, **SHORT
    )
    state = {}
    for name, value in theirs.state_dict().items():
        if ".to_value_residual_mix." in name:
            value.fill_(-1e4 if name.endswith("bias") else 0)  # newer; switched off
        else:
            state[name.replace(".branch.", ".")] = value
    model = ours(state, 2, hop_length=64, zero_dc=True).eval()
    audio = mixture(64 * 200)  # the package drops what is not a whole hop
    with torch.no_grad():
        assert_close(model(audio), theirs.eval()(audio))


def test_the_public_model_gives_the_same_waveforms():
    theirs = original(pymss, dim=384, depth=6, stft_hop_length=441)
    model = ours(theirs.state_dict(), 1).eval()
    assert sum(p.numel() for p in model.parameters()) == 74_532_652
    assert model.config.head_width == 64
    audio = mixture(22_050, batch=1)
    with torch.no_grad():
        assert_close(model(audio)[:, 0], theirs.eval()(audio))
