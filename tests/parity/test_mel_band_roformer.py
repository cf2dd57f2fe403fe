"""Mel-Band RoFormer against pymss-core and the package BS-RoFormer, same weights."""

import re
import warnings

import numpy as np
import pytest
import torch

from mssedu.models.mel_band_roformer import mel_bins
from mssedu.models.registry import create_model
from mssedu.weights.convert import port
from mssedu.weights.foreign import Weights
from tests.parity.peers import assert_close, import_reference, mixture, randomize

pymss = import_reference("pymss_core.modules.bs_roformer")
lucidrains = import_reference("bs_roformer")
filters = import_reference("librosa.filters")

pytestmark = pytest.mark.parity

SMALL = {"dim": 24, "depth": 2, "heads": 3, "dim_head": 8, "num_bands": 12}
STFT = {"stft_n_fft": 512, "stft_hop_length": 128, "stft_win_length": 512}
SHORT = {**SMALL, **STFT}
DEPTHS = {"time_transformer_depth": 1, "freq_transformer_depth": 1}
PLAIN = {"attn_dropout": 0.0, "ff_dropout": 0.0, "flash_attn": False}


def original(package, **arguments):
    """A network of another package, with random weights."""
    arguments = {"stereo": True, **DEPTHS, **PLAIN, **arguments}
    with warnings.catch_warnings(action="ignore"):  # a probe of an STFT without window
        return randomize(package.MelBandRoformer(**arguments), 0.1)


def ours(state, n_stems, **changes):
    """Our model with the weights of a public state dict."""
    ported = port(Weights(state), "x", [f"stem {i}" for i in range(n_stems)])
    assert ported.model == "mel_band_roformer"
    model = create_model(ported.model, **(ported.config | changes))
    model.load_state_dict(ported.state)
    return model


@pytest.mark.parametrize(
    ("arguments", "n_stems", "channels", "changes"),
    [
        (SHORT, 1, 2, {"hop_length": 128}),
        (SHORT, 3, 1, {"hop_length": 128}),
        ({**SHORT, "zero_dc": False}, 2, 2, {"hop_length": 128, "zero_dc": False}),
        ({**SHORT, "mlp_hidden_layers": 2}, 2, 2, {"hop_length": 128}),
        ({**SHORT, "mlp_expansion_factor": 1}, 2, 2, {"hop_length": 128}),
        ({**SMALL, "num_bands": 60, "stft_hop_length": 441}, 2, 2, {}),
    ],
)
def test_pymss_gives_the_same_waveforms(arguments, n_stems, channels, changes):
    arguments = {"mask_estimator_depth": 2, "stereo": channels == 2, **arguments}
    theirs = original(
        pymss, num_stems=n_stems, match_input_audio_length=True, **arguments
    )
    model = ours(theirs.state_dict(), n_stems, **changes).eval()
    audio = mixture(20_001, channels)
    with torch.no_grad():
        estimate = theirs.eval()(audio).reshape(2, n_stems, channels, -1)
        assert_close(model(audio), estimate)


def test_the_sizes_are_read_from_the_tensors():
    theirs = original(pymss, num_stems=2, mlp_hidden_layers=2, **SHORT)
    config = ours(theirs.state_dict(), 2, hop_length=128).config
    assert (config.width, config.n_layers, config.n_heads) == (24, 2, 3)
    assert (config.head_width, config.mask_layers, config.mask_scale) == (8, 2, 4)
    assert (config.channels, config.n_fft, config.n_bands) == (2, 512, 12)
    assert config.zero_dc


def test_pymss_gives_the_same_gradients():
    theirs = original(pymss, num_stems=2, mlp_hidden_layers=1, **SHORT)
    model = ours(theirs.state_dict(), 2, hop_length=128)
    for network in (theirs, model):
        network(mixture(128 * 40)).square().mean().backward()
    gradients = {n: p.grad for n, p in theirs.named_parameters() if p.requires_grad}
    expected = port(Weights(gradients), "x", ["a", "b"]).state
    own = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert own.keys() == expected.keys()
    for name, gradient in own.items():
        assert_close(gradient, expected[name])


def test_the_package_of_the_first_implementation_gives_the_same_waveforms():
    newer = {"num_residual_streams": 1, "add_value_residual": False}
    older = {"linear_transformer_depth": 0, "match_input_audio_length": True}
    arguments = {**newer, **older, "zero_dc": True, **SHORT}
    theirs = original(lucidrains, num_stems=2, mask_estimator_depth=1, **arguments)
    state = {}
    for name, value in theirs.state_dict().items():
        # The place of the linear transformer, of which there is none, is counted here.
        name = re.sub(r"^(layers\.\d+)\.2\.", r"\1.b.", name)
        name = re.sub(r"^(layers\.\d+)\.1\.", r"\1.0.", name).replace(".b.", ".1.")
        state[name.replace(".branch.", ".")] = value
    model = ours(state, 2, hop_length=128).eval()
    audio = mixture(20_001)
    with torch.no_grad():
        assert_close(model(audio), theirs.eval()(audio))


def test_the_public_model_gives_the_same_waveforms():
    arguments = {"dim": 384, "depth": 6, "stft_hop_length": 441}
    theirs = original(
        pymss, mlp_hidden_layers=2, match_input_audio_length=True, **arguments
    )
    model = ours(theirs.state_dict(), 1).eval()
    assert sum(p.numel() for p in model.parameters()) == 228_202_852
    audio = mixture(11_025, batch=1)
    with torch.no_grad():
        assert_close(model(audio)[:, 0], theirs.eval()(audio))


@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_bands"),
    [
        (44100, 2048, 60),
        (44100, 4096, 60),
        (44100, 1024, 24),
        (48000, 2048, 64),
        (16000, 512, 20),
        (1500, 256, 8),
    ],
)
def test_the_bands_are_those_of_librosa(sample_rate, n_fft, n_bands):
    weights = filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_bands)
    weights[0, 0] = weights[-1, -1] = 1  # as the original sets them
    bands = [np.flatnonzero(row).tolist() for row in weights]
    assert [list(band) for band in mel_bins(sample_rate, n_fft, n_bands)] == bands
