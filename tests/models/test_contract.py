"""What every model promises (DESIGN §2), checked for all of them alike."""

import dataclasses

import pytest
import torch

from mssedu.errors import InputError
from mssedu.models.registry import create_model, list_models, model_config

HOP = 1024
LENGTHS = [1, 2, HOP - 1, HOP + 1, 5000, 44100]
STEMS = [("dizi", "yangqin", "pipa", "other"), ("instrumental",), ("a.b", "keys")]

pytestmark = pytest.mark.parametrize("name", list_models())


def new_model(name, preset="tiny", **changes):
    torch.manual_seed(0)
    return create_model(name, preset, **changes)


def noise(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_same_length_out(name, samples, training):
    model = new_model(name).train(training)
    estimate = model(noise(2, 2, samples))
    assert estimate.shape == (2, len(model.config.stems), 2, samples)
    assert estimate.isfinite().all()
    assert samples < 3 or estimate.abs().max() > 0


@pytest.mark.parametrize("preset", ["tiny", "paper"])
def test_presets_have_the_default_stems(name, preset):
    config = model_config(name, preset)
    assert config.stems == ("vocals", "drums", "bass", "other")
    assert config.sample_rate in (44100, 22050)
    assert config.channels == 2
    assert config.segment > 1


def test_paper_preset_runs(name):
    model = new_model(name, "paper", stems=("vocals", "other")).eval()
    with torch.no_grad():
        assert model(noise(1, 2, 5000)).shape == (1, 2, 2, 5000)


def test_tiny_preset_is_tiny(name):
    assert sum(p.numel() for p in new_model(name).parameters()) < 1_000_000


@pytest.mark.parametrize("stems", STEMS, ids=len)
def test_any_stems(name, stems):
    model = new_model(name, stems=stems)
    assert model.config.stems == stems
    assert model.eval()(noise(1, 2, 3000)).shape == (1, len(stems), 2, 3000)


@pytest.mark.parametrize("channels", [1, 3])
def test_any_channels(name, channels):
    model = new_model(name, channels=channels).eval()
    assert model(noise(1, channels, 3000)).shape == (1, 4, channels, 3000)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_double_precision_stays(name, training):
    model = new_model(name).double().train(training)
    assert model(noise(1, 2, 3000, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_forward_leaves_input_and_attributes_alone(name, training):
    model = new_model(name).train(training)
    mixture = noise(2, 2, 5000)
    before, attributes = mixture.clone(), all_attributes(model)
    model(mixture)
    assert torch.equal(mixture, before)
    assert all_attributes(model) == attributes


def all_attributes(model):
    """Name and identity of every attribute of every part, tensors by identity too."""
    kept = ("_parameters", "_buffers", "_modules")
    found = {}
    for path, part in model.named_modules():
        for attribute, value in vars(part).items():
            if attribute in kept:
                found |= {(path, attribute, key): id(v) for key, v in value.items()}
            else:
                found[path, attribute] = id(value)
    return found


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_gradients_are_finite(name, training):
    model = new_model(name).train(training)
    mixture = noise(2, 2, 30_000)
    mixture[..., :15_000] = 0  # digital silence, where magnitudes have a kink
    mixture.requires_grad_()
    model(mixture).abs().mean().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    for tensor in [mixture, *trained]:
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    assert sum(float(p.grad.abs().sum()) for p in trained) > 0


@torch.no_grad()
def test_eval_is_deterministic_and_ignores_the_rest_of_the_batch(name):
    model = new_model(name).eval()
    mixture = noise(3, 2, 20_000)
    mixture[1] *= 100
    estimate = model(mixture)
    assert torch.equal(estimate, model(mixture))
    alone = torch.cat([model(item[None]) for item in mixture])
    error = (alone - estimate).abs().amax((1, 2, 3))
    assert (error <= 1e-5 * mixture.abs().amax((1, 2))).all()


@torch.no_grad()
def test_state_dict_round_trip(name):
    model, other = new_model(name).train(), create_model(name, "tiny")
    model(noise(2, 2, 30_000))  # moves the statistics of batch norms
    other.load_state_dict(model.state_dict())
    mixture = noise(1, 2, 20_000)
    assert torch.equal(model.eval()(mixture), other.eval()(mixture))


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_silence_stays_silence(name, training):
    model = new_model(name).train(training)
    assert torch.equal(model(torch.zeros(2, 2, 9000)), torch.zeros(2, 4, 2, 9000))


@pytest.mark.parametrize(
    ("mixture", "text"),
    [
        (torch.zeros(2, 44100), r"mixture \(batch, 2, samples ≥ 1\), got \(2, 44100\)"),
        (torch.zeros(1, 1, 44100), "match_channels"),
        (torch.zeros(1, 2, 0), "at least one sample"),
        (torch.zeros(1, 2, 9, dtype=torch.int16), "torch.int16"),
        (torch.zeros(()), "expected a float mixture"),
    ],
    ids=["no batch", "mono", "empty", "integers", "scalar"],
)
def test_wrong_mixture_is_named(name, mixture, text):
    with pytest.raises(InputError, match=text):
        new_model(name)(mixture)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"stems": ()}, "different names"),
        ({"stems": "vocals"}, "got 'vocals'"),
        ({"stems": ("a", "a")}, "different names"),
        ({"stems": ("a", "")}, "different names"),
        ({"sample_rate": 0}, "sample_rate in"),
        ({"channels": 0}, "channels in"),
        ({"n_fft": 1023}, "even n_fft"),
        ({"hop_length": 0}, "hop_length in"),
        ({"hop_length": 5000}, "hop_length in"),
    ],
    ids=str,
)
def test_wrong_config_is_named(name, changes, text):
    if not all(hasattr(model_config(name), field) for field in changes):
        pytest.skip("a model on waveforms has no STFT")
    with pytest.raises(InputError, match=text):
        model_config(name, "tiny", **changes)


def test_config_is_frozen_and_hashable(name):
    config = new_model(name).config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.stems = ("vocals",)
    assert hash(config) == hash(model_config(name, "tiny"))


@pytest.mark.gpu
@torch.no_grad()
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_gives_the_same(name):
    model, mixture = new_model(name).eval(), noise(2, 2, 30_000)
    estimate = model(mixture)
    on_gpu = model.cuda()(mixture.cuda())
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), estimate, rtol=1e-2, atol=1e-3)
