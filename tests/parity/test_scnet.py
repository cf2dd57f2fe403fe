"""SCNet against pymss-core and the authors' code, with the same weights."""

import json

import pytest
import torch

from mssedu.models.registry import create_model
from mssedu.weights.convert import port
from mssedu.weights.foreign import Weights
from tests.parity.make_scnet_golden import CASES, GOLDEN, noise, places, randomized
from tests.parity.peers import assert_close, import_reference, mixture, randomize

pymss = import_reference("pymss_core.modules.scnet")

# The original has no window on purpose, which torch warns of.
pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:A window was not provided"),
]

SMALL = {"dims": [4, 8, 12, 16], "num_dplayer": 2}
IHF = {
    "band_stride": [1, 4, 4],
    "band_kernel": [3, 4, 4],
    "conv_depths": [3, 3, 3],
    "band_SR": [0.23, 0.37, 0.4],
}


def ours(state, stems, **changes):
    """Our model with the weights of a public state dict."""
    ported = port(Weights(state), "x", stems)
    assert ported.model == "scnet"
    model = create_model(ported.model, **(ported.config | changes))
    model.load_state_dict(ported.state)
    return model


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        (SMALL, {}),
        ({**SMALL, "sources": ["vocals"]}, {}),
        ({**SMALL, "audio_channels": 1, "dims": [2, 8, 8], "compress": 2}, {}),
        ({**SMALL, "nfft": 1024, "hop_size": 256, "win_size": 1024}, {"n_fft": 1024}),
        ({**SMALL, **IHF, "num_dplayer": 8}, {}),
        ({}, {}),
    ],
    ids=["small", "one stem", "mono", "short", "xl_ihf", "paper"],
)
def test_pymss_gives_the_same_waveforms(arguments, changes):
    theirs = randomize(pymss.SCNet(**arguments), 0.1).eval()
    if changes:
        changes = {**changes, "hop_length": changes["n_fft"] // 4}
    stems = theirs.sources
    model = ours(theirs.state_dict(), stems, **changes).eval()
    assert model.config.stems == tuple(stems)
    audio = mixture(30_001, model.config.channels)
    with torch.no_grad():
        assert_close(model(audio), theirs(audio))


def test_the_sizes_are_read_from_the_tensors():
    theirs = pymss.SCNet(**SMALL, **IHF, compress=2)
    config = ours(theirs.state_dict(), None).config
    assert config.stems == ("drums", "bass", "other", "vocals")
    assert (config.channels, config.widths, config.compress) == (2, (8, 12, 16), 2)
    assert (config.strides, config.depths) == ((1, 4, 4), (3, 3, 3))
    assert (config.n_layers, config.normalize) == (2, False)


def test_pymss_gives_the_same_gradients():
    theirs = randomize(pymss.SCNet(**SMALL), 0.1)
    model = ours(theirs.state_dict(), None)
    for network in (theirs, model):
        network(mixture(20_000)).square().mean().backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    expected = port(Weights(gradients), "x").state
    own = {name: p.grad for name, p in model.named_parameters()}
    assert own.keys() == expected.keys()
    parts = [[g[name].flatten() for name in sorted(own)] for g in (own, expected)]
    assert_close(*map(torch.cat, parts))
    for name, gradient in own.items():
        # That of a bias before a norm is a small difference of large numbers.
        error = (gradient - expected[name]).norm() / expected[name].norm()
        assert error < (1e-4 if name.endswith("bias") else 1e-5), name


@pytest.mark.parametrize("name", CASES)
def test_the_authors_code_gives_the_same_waveforms(name):
    arguments, samples = CASES[name]
    theirs = randomized(pymss.SCNet(**arguments))  # the same names and shapes
    shares = {}
    if "band_SR" in arguments:
        low, mid, _ = arguments["band_SR"]
        shares = {"low_share": low, "mid_share": mid}
    model = ours(theirs.state_dict(), None, normalize=True, **shares).eval()
    audio = torch.from_numpy(noise(samples))[None]
    with torch.no_grad():
        estimate = model(audio)[0, :, :, places(samples)]
    expected = torch.tensor(json.loads(GOLDEN.read_text("utf-8"))[name])
    assert_close(estimate, expected)
