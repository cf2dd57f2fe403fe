"""Demucs (v2) against demucs 2.0.3, same weights; its resampling against julius."""

import pytest
import torch

from mssedu.models.demucs import Resample, valid_length
from mssedu.models.registry import create_model
from tests.parity.peers import assert_close, diffq_stub, import_reference, load_peer

original, utils = load_peer(
    "demucs", "2.0.3", ["model", "utils"], {"diffq": diffq_stub()}
)
julius = import_reference("julius")

pytestmark = pytest.mark.parity

SMALL = {"width": 4, "growth": 2.0, "depth": 4}


def pair(preset="tiny", **changes):
    """Our model and the original, with the same weights, none at its default."""
    ours = create_model("demucs", preset, rescale=0.0, **changes).eval()
    config = ours.config
    theirs = original.Demucs(
        sources=config.stems,
        audio_channels=config.channels,
        channels=config.width,
        depth=config.depth,
        glu=config.glu,
        rescale=0.0,
        resample=config.resample,
        kernel_size=config.kernel_size,
        stride=config.stride,
        growth=config.growth,
        lstm_layers=config.lstm_layers,
        context=config.context,
        normalize=config.normalize,
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for value in theirs.parameters():
        scale = value[0].numel() ** -0.5 if value.ndim > 1 else 0.1
        value.data.uniform_(-1.7 * scale, 1.7 * scale, generator=generator)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def mixture(samples, channels=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(channels, samples, generator=generator) / 5


def test_full_size():
    ours, theirs = pair("paper")
    audio = mixture(5000)
    with torch.no_grad():
        assert_close(ours(audio[None])[0], utils.apply_model(theirs, audio))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"channels": 1, "stems": ("instrumental",)},
        {"channels": 3, "stems": ("dizi", "yangqin", "pipa", "other", "voice")},
        {"normalize": True},
        {"resample": False},
        {"context": 1},
        {"glu": False, "lstm_layers": 0},
        {"kernel_size": 5, "stride": 3, "growth": 1.5},  # odd lengths
    ],
    ids=str,
)
@pytest.mark.parametrize("samples", [1, 1000, 16_001, 44_100])
def test_any_length(changes, samples):
    ours, theirs = pair(**(SMALL | changes))
    audio = mixture(samples, ours.config.channels)
    assert valid_length(ours.config, samples) == theirs.valid_length(samples)
    with torch.no_grad():
        assert_close(ours(audio[None])[0], utils.apply_model(theirs, audio))


def test_gradients_and_new_weights():
    ours, theirs = pair(**SMALL)
    original.rescale_module(theirs, 0.1)
    ours.load_state_dict(theirs.state_dict())
    audio = mixture(2000)[None]
    length = valid_length(ours.config, 2000)
    before = (length - 2000) // 2
    padded = torch.nn.functional.pad(audio, (before, length - 2000 - before))
    ours.train()(audio).square().mean().backward()
    utils.center_trim(theirs.train()(padded), 2000).square().mean().backward()
    gradients = {name: value.grad for name, value in theirs.named_parameters()}
    for name, value in ours.named_parameters():
        expected = gradients.pop(name)
        assert (value.grad - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert not gradients


def test_a_new_model_starts_as_the_original_does():
    torch.manual_seed(3)
    ours = create_model("demucs", "tiny", ("a", "b"), **SMALL)
    torch.manual_seed(3)
    theirs = original.Demucs(sources=["a", "b"], channels=4, depth=4)
    parts = zip(
        ours.encoder[0].parameters(), theirs.encoder[0].parameters(), strict=True
    )
    for one, other in parts:
        torch.testing.assert_close(one, other)
    # Further down, the random numbers come in another order: similar, not the same.
    for name, value in theirs.state_dict().items():
        if name.endswith("weight") and value.numel() > 200:
            torch.testing.assert_close(
                ours.state_dict()[name].std(), value.std(), rtol=0.2, atol=0
            )


@pytest.mark.parametrize("samples", [1, 2, 50, 1001])
@pytest.mark.parametrize(("old", "new"), [(1, 2), (2, 1)])
def test_resampling(old, new, samples):
    audio = mixture(samples)[None]
    ours, theirs = Resample(old, new)(audio), julius.resample_frac(audio, old, new)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
