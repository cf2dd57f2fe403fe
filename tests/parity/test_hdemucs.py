"""HDemucs against demucs 4.1.0, demucs 3.0.6 and torchaudio, same weights."""

from types import ModuleType

import pytest
import torch

from mssedu.models.blocks.dconv import BiLSTM, DConv, LocalAttention
from mssedu.models.hdemucs import from_torchaudio
from mssedu.models.registry import create_model
from tests.parity.peers import (
    assert_close,
    diffq_stub,
    import_reference,
    load_peer,
    mixture,
    randomize,
)

hdemucs_4 = import_reference("demucs.hdemucs")
demucs_4 = import_reference("demucs.demucs")
torchaudio = pytest.importorskip("torchaudio.models")

omegaconf = ModuleType("omegaconf")  # not needed here
omegaconf.OmegaConf = None
stubs = {"diffq": diffq_stub(), "omegaconf": omegaconf}
(hdemucs_3,) = load_peer("demucs", "3.0.6", ["hdemucs"], stubs)

pytestmark = pytest.mark.parity

SMALL = {"n_fft": 256, "width": 8, "depth": 4, "norm_starts": 2, "context_starts": 2}


def original_model(config, package=hdemucs_4):
    """The original in our configuration."""
    return package.HDemucs(
        list(config.stems),
        audio_channels=config.channels,
        channels=config.width,
        nfft=config.n_fft,
        depth=config.depth,
        norm_starts=config.norm_starts,
        norm_groups=config.norm_groups,
        dconv_depth=config.dconv_depth,
        dconv_comp=config.dconv_compress,
        dconv_attn=config.context_starts,
        dconv_lstm=config.context_starts,
    ).eval()


def randomized(model):
    return randomize(model, bias=0.3)


def pair(package=hdemucs_4, **changes):
    """Our model and the original, with the same weights."""
    ours = create_model("hdemucs", **changes).eval()
    theirs = randomized(original_model(ours.config, package))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


# ---- whole models -------------------------------------------------------------------


@torch.no_grad()
def test_full_size():
    """Demucs and torchaudio's bundle at once, as the latter's weights fit both."""
    ours = create_model("hdemucs").eval()
    bundle = randomized(torchaudio.hdemucs_high(list(ours.config.stems))).eval()
    weights = from_torchaudio(bundle.state_dict())
    assert len(weights) == len(bundle.state_dict()) - 2
    theirs = original_model(ours.config)
    theirs.load_state_dict(weights)
    ours.load_state_dict(weights)
    audio = mixture(50_001, batch=1)
    expected = theirs(audio)
    assert_close(ours(audio), expected)
    assert_close(bundle(audio), expected)


VARIANTS = [
    {},
    {"channels": 1, "stems": ("instrumental",)},
    {"channels": 3, "stems": ("dizi", "yangqin", "pipa", "other", "voice")},
    {"depth": 3, "dconv_depth": 1, "dconv_compress": 2},  # nothing below the merge
    {"depth": 5, "norm_starts": 5, "context_starts": 4},
    {"n_fft": 64, "depth": 4, "norm_groups": 2, "context_starts": 3},
    {"n_fft": 1024, "depth": 5, "norm_starts": 4, "context_starts": 5},
]


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("samples", [1, 63, 1000, 9216, 20_001])
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_any_length(changes, samples, training):
    ours, theirs = pair(**(SMALL | changes))
    audio = mixture(samples, ours.config.channels)
    if samples == 1 and ours.config.channels == 1:
        assert ours(audio).isfinite().all()  # the original divides by 0
        return
    assert_close(ours.train(training)(audio), theirs.train(training)(audio))


@torch.no_grad()
@pytest.mark.parametrize("samples", [1000, 30_000])
def test_older_release(samples):
    ours, theirs = pair(hdemucs_3, **SMALL)
    assert_close(ours(mixture(samples)), theirs(mixture(samples)))


@torch.no_grad()
@pytest.mark.parametrize("samples", [1000, 60_000])
def test_small_bundle(samples):
    # 60,000 samples are 235 frames, more than the BiLSTM takes at a time.
    stems = ("a", "b", "c")
    theirs = randomized(
        torchaudio.HDemucs(list(stems), nfft=1024, depth=5, channels=8)
    ).eval()
    ours = create_model("hdemucs", stems=stems, n_fft=1024, width=8, depth=5).eval()
    ours.load_state_dict(from_torchaudio(theirs.state_dict()))
    assert_close(ours(mixture(samples)), theirs(mixture(samples)))


def test_gradients():
    ours, theirs = pair(**SMALL)
    inputs = mixture(9000).requires_grad_(), mixture(9000).requires_grad_()
    for model, audio in zip((ours, theirs), inputs, strict=True):
        model.train()(audio).square().mean().backward()
    gradients = {name: value.grad for name, value in theirs.named_parameters()}
    for name, value in ours.named_parameters():
        expected = gradients.pop(name)
        # A bias of the attention's keys changes nothing: its gradient is rounding.
        allowed = 1e-4 * expected.abs().max() + 1e-9
        assert (value.grad - expected).abs().max() <= allowed
    assert not gradients
    assert_close(inputs[0].grad, inputs[1].grad)


def test_a_new_model_starts_as_the_original_does():
    torch.manual_seed(0)
    ours = create_model("hdemucs", n_fft=1024, width=16, depth=5)
    theirs = original_model(ours.config).state_dict()
    for name, value in ours.state_dict().items():
        if name.endswith("weight") and value.numel() > 500:
            torch.testing.assert_close(
                value.std(), theirs[name].std(), rtol=0.2, atol=0, msg=name
            )


# ---- parts --------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 200, 201, 555])
def test_bilstm(frames):
    ours, theirs = BiLSTM(8, 2, 200, skip=True), demucs_4.BLSTM(8, 2, 200, skip=True)
    ours.load_state_dict(randomized(theirs).state_dict())
    x = mixture(frames, 8)
    assert_close(ours(x), theirs(x))


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 300])
def test_local_attention(frames):
    ours, theirs = LocalAttention(12, 3, 5), demucs_4.LocalState(12, 3, ndecay=5)
    ours.load_state_dict(randomized(theirs).state_dict())
    x = 10 * mixture(frames, 12)
    assert_close(ours(x), theirs(x))


@torch.no_grad()
@pytest.mark.parametrize("lstm", [False, True])
@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("frames", [1, 250])
def test_dconv(frames, attention, lstm):
    ours = DConv(24, compress=3, depth=3, lstm=lstm, attention=attention)
    theirs = demucs_4.DConv(24, compress=3, depth=3, lstm=lstm, attn=attention)
    ours.load_state_dict(randomized(theirs).state_dict())
    x = mixture(frames, 24)
    assert_close(ours(x), theirs(x))
