"""HTDemucs against demucs 4.1.0, same weights; the published ones where present."""

import os
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from mssedu.audio.tensors import load_audio
from mssedu.models.blocks.transformer import CrossDomainTransformer
from mssedu.models.registry import create_model
from tests.parity.peers import assert_close, import_reference, mixture, randomize

original = import_reference("demucs.htdemucs")
transformer = import_reference("demucs.transformer")

pytestmark = pytest.mark.parity

DRUMS_FIRST = ("drums", "bass", "other", "vocals")
SMALL = {
    "segment": 0.7,
    "width": 8,
    "dconv_compress": 4,
    "bottom_channels": 24,
    "t_layers": 3,
    "t_heads": 2,
    "dropout": 0.0,
}
SONG = Path(__file__).resolve().parents[2] / "data" / "test" / "Sodium"


def original_model(config, **changes):
    """The original in our configuration."""
    arguments = {
        "audio_channels": config.channels,
        "channels": config.width,
        "nfft": config.n_fft,
        "depth": config.depth,
        "dconv_mode": config.dconv_mode,
        "dconv_depth": config.dconv_depth,
        "dconv_comp": config.dconv_compress,
        "bottom_channels": config.bottom_channels,
        "t_layers": config.t_layers,
        "t_hidden_scale": config.t_hidden_scale,
        "t_heads": config.t_heads,
        "t_dropout": config.dropout,
        "samplerate": config.sample_rate,
        # A fraction, as the original truncates 30869.99… samples to 30869.
        "segment": Fraction(
            round(config.segment * config.sample_rate), config.sample_rate
        ),
    }
    return original.HTDemucs(list(config.stems), **(arguments | changes)).eval()


def randomized(model):
    return randomize(model, bias=0.1)


def pair(preset="paper", original_changes=(), **changes):
    """Our model and the original, with the same weights."""
    ours = create_model("htdemucs", preset, **changes).eval()
    theirs = randomized(original_model(ours.config, **dict(original_changes)))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@torch.no_grad()
@pytest.mark.parametrize("preset", ["paper", "6s"])
def test_full_size(preset):
    ours, theirs = pair(preset, segment=1.5)  # the weights do not depend on it
    audio = mixture(60_000, batch=1)
    assert_close(ours(audio), theirs(audio))


VARIANTS = [
    {},
    {"dconv_mode": 1, "bottom_channels": 0},
    {"dconv_mode": 2, "dconv_depth": 1},
    {"channels": 1, "stems": ("instrumental",), "t_layers": 1},
    {"channels": 3, "stems": ("dizi", "pipa", "other"), "t_hidden_scale": 1.5},
    {"depth": 3, "n_fft": 512, "sample_rate": 22050, "segment": 1.4},
]


@torch.no_grad()
@pytest.mark.parametrize("samples", [1, 1000, 15_435, 30_870])  # segment: 30,870
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_up_to_a_segment(changes, samples):
    ours, theirs = pair(**(SMALL | changes))
    audio = mixture(samples, ours.config.channels)
    assert_close(ours(audio), theirs(audio))


@torch.no_grad()
@pytest.mark.parametrize("samples", [30_871, 44_100, 65_537])
def test_longer_than_a_segment(samples):
    # The original raises an error, unless use_train_segment is off.
    ours, theirs = pair(**SMALL, original_changes={"use_train_segment": False})
    assert_close(ours(mixture(samples)), theirs(mixture(samples)))


@torch.no_grad()
@pytest.mark.parametrize("samples", [2, 777, 1024, 30_871, 44_100])
@pytest.mark.parametrize("changes", VARIANTS[:2], ids=str)
def test_training_computes_the_length_given(changes, samples):
    ours, theirs = pair(**(SMALL | changes))
    audio = mixture(samples)
    assert_close(ours.train()(audio), theirs.train()(audio))


def test_gradients():
    ours, theirs = pair(**SMALL)
    for model in (ours, theirs):
        model.train()(mixture(9000)).square().mean().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        grad = expected[name].grad
        assert (parameter.grad - grad).abs().max() <= 1e-4 * grad.abs().max(), name


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("width", "n_layers", "n_heads"), [(16, 5, 2), (48, 4, 8)])
def test_transformer_alone(width, n_layers, n_heads, training):
    theirs = transformer.CrossTransformerEncoder(
        width,
        num_layers=n_layers,
        num_heads=n_heads,
        norm_first=True,
        norm_out=True,
        layer_scale=True,
    )
    ours = CrossDomainTransformer(width, n_layers, n_heads)
    ours.load_state_dict(randomized(theirs).state_dict())
    sides = torch.randn(2, width, 3, 11), torch.randn(2, width, 40)
    expected = theirs.train(training)(*sides)
    for side, other in zip(ours.train(training)(*sides), expected, strict=True):
        assert_close(side, other)


@torch.no_grad()
@pytest.mark.skipif("MSSEDU_HTDEMUCS" not in os.environ, reason="needs the weights")
def test_published_weights_on_a_song():
    safetensors = pytest.importorskip("safetensors.torch")
    state = safetensors.load_file(os.environ["MSSEDU_HTDEMUCS"])
    state = {name: value.float() for name, value in state.items()}
    ours = create_model("htdemucs", stems=DRUMS_FIRST).eval()
    theirs = original_model(ours.config)
    ours.load_state_dict(state)
    theirs.load_state_dict(state)
    samples = round(ours.config.segment * ours.config.sample_rate)
    stems = [load_audio(path)[0][:, :samples] for path in sorted(SONG.glob("*.ogg"))]
    audio = sum(stems)[None]
    assert audio.shape == (1, 2, samples)
    assert_close(ours(audio), theirs(audio))
