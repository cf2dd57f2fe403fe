"""What every model promises (DESIGN section 2), checked for all of them alike."""

import dataclasses
import typing

import pytest
import torch

import mssedu
from mssedu.errors import InputError
from mssedu.inspect.complexity import measure
from mssedu.models.contract import segment_limit
from mssedu.models.registry import class_of, create_model, list_models, model_config
from tests.models.example_model import ConvMask, ConvMaskConfig
from tests.models.noise import noise

HOP = 1024
LENGTHS = [1, 2, HOP - 1, HOP + 1, 5000]
LONG = 20_000  # training at this length: test_gradients_are_finite
STEMS = [("dizi", "yangqin", "pipa", "other"), ("instrumental",), ("a.b", "keys")]

# Models that are not in the registry: name -> class and config. A line here is all that
# a model of your own needs to run through every test of this file.
OWN = {"example": (ConvMask, ConvMaskConfig())}
NAMES = [*list_models(), *OWN]

# Variants that have their class and its parts in common with another one
ALIKE = {
    f"htdemucs_{name}" for name in ("p", "d2", "d3", "d4", "nn", "dn", "nf", "dnf")
}


def each(names):
    """The names as parameters of a test; a variant that is like others is slow."""
    slow = pytest.mark.slow
    return [pytest.param(n, marks=slow) if n in ALIKE else n for n in names]


every_model = pytest.mark.parametrize("name", each(NAMES))
every_registered_model = pytest.mark.parametrize("name", each(list_models()))


def config_for(name, **changes):
    """The small config of a model, with changes."""
    if name in OWN:
        return dataclasses.replace(OWN[name][1], **changes)
    if segment_limit(model_config(name)):  # in eval mode it is filled with zeros
        changes = {"segment": 0.3, **changes}
    return model_config(name, "tiny", **changes)


def new_model(name, seed=0, **changes):
    torch.manual_seed(seed)
    model = OWN[name][0] if name in OWN else class_of(name)
    return model(config_for(name, **changes))


# ---- forward ------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@every_model
def test_same_length_out(name, training):
    model = new_model(name).train(training)
    for samples in LENGTHS if training else [*LENGTHS, LONG]:
        estimate = model(noise(2, 2, samples))
        assert estimate.shape == (2, len(model.config.stems), 2, samples), samples
        assert estimate.isfinite().all(), samples
        assert samples < 3 or estimate.abs().max() > 0, samples


@pytest.mark.parametrize("stems", STEMS, ids=len)
@every_model
def test_any_stems(name, stems):
    model = new_model(name, stems=stems)
    assert model.config.stems == stems
    assert model.eval()(noise(1, 2, 3000)).shape == (1, len(stems), 2, 3000)


@pytest.mark.parametrize("channels", [1, 3])
@every_model
def test_any_channels(name, channels):
    model = new_model(name, channels=channels).eval()
    assert model(noise(1, channels, 3000)).shape == (1, 4, channels, 3000)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@every_model
def test_double_precision_stays(name, training):
    model = new_model(name).double().train(training)
    assert model(noise(1, 2, 3000, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@every_model
def test_forward_leaves_input_and_attributes_alone(name, training):
    model = new_model(name).train(training)
    mixture = noise(2, 2, 5000)
    before, attributes = mixture.clone(), all_attributes(model)
    model(mixture)
    assert torch.equal(mixture, before)
    assert all_attributes(model) == attributes


def all_attributes(model):
    """Name and identity of every attribute of every part, tensors by identity too."""
    registers = ("_parameters", "_buffers", "_modules")
    found = {}
    for path, part in model.named_modules():
        for attribute, value in vars(part).items():
            if attribute in registers:
                found |= {(path, attribute, key): id(v) for key, v in value.items()}
            else:
                found[path, attribute] = id(value)
    return found


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@every_model
def test_gradients_are_finite(name, training):
    model = new_model(name).train(training)
    mixture = noise(2, 2, 20_000)
    mixture[..., :10_000] = 0  # digital silence, where magnitudes have a kink
    mixture.requires_grad_()
    model(mixture).abs().mean().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    for tensor in [mixture, *trained]:
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    assert sum(float(p.grad.abs().sum()) for p in trained) > 0


@torch.no_grad()
@every_model
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
@every_model
def test_state_dict_round_trip(name):
    model, other = new_model(name).train(), new_model(name, seed=1)
    model(noise(2, 2, 5000))  # moves the statistics of batch norms
    other.load_state_dict(model.state_dict())
    mixture = noise(1, 2, 9000)
    assert torch.equal(model.eval()(mixture), other.eval()(mixture))


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@every_model
def test_silence_stays_silence(name, training):
    # The fusions of htdemucs_n and others have a bias, which is a flaw of the record.
    changes = {"mended": True} if hasattr(config_for(name), "mended") else {}
    model = new_model(name, **changes).train(training)
    assert torch.equal(model(torch.zeros(2, 2, 9000)), torch.zeros(2, 4, 2, 9000))


WRONG = [
    (torch.zeros(2, 44100), r"\(2, 44100\)"),
    (torch.zeros(1, 1, 44100), "match_channels"),
    (torch.zeros(1, 2, 0), "samples"),
    (torch.zeros(1, 2, 9, dtype=torch.int16), "torch.int16"),
    (torch.zeros(()), "mixture"),
]


@every_model
def test_wrong_mixture_is_named(name):
    model = new_model(name)
    for mixture, text in WRONG:
        with pytest.raises(InputError, match=text):
            model(mixture)


@pytest.mark.gpu
@torch.no_grad()
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_model
def test_gpu_gives_the_same(name):
    model, mixture = new_model(name).eval(), noise(2, 2, 30_000)
    estimate = model(mixture)
    on_gpu = model.cuda()(mixture.cuda())
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), estimate, rtol=1e-2, atol=1e-3)


# ---- config -------------------------------------------------------------------------


@every_model
def test_config_is_frozen_and_hashable(name):
    config = new_model(name).config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.stems = ("vocals",)
    assert hash(config) == hash(config_for(name))


@every_model
@pytest.mark.parametrize(
    "stems", [(), "vocals", ["a", "b"], ("a", "a"), ("a", ""), (1,)], ids=str
)
def test_stems_are_different_names(name, stems):
    with pytest.raises(InputError, match="stems must"):
        dataclasses.replace(config_for(name), stems=stems)


def wrong_values():
    """A field of a config, and values that it cannot have: (model, field, value)."""
    for name in NAMES:
        config = config_for(name)
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if isinstance(value, str):
                values = ["no such name", value.upper()]
            elif isinstance(value, float):
                values = [-1.0, float("nan")]
            elif isinstance(value, tuple) and field.name != "stems":
                values = [(), (-1,), (4, 0)]
            else:
                values = [] if isinstance(value, bool | tuple) else [-1]
            yield from ((name, field.name, wrong) for wrong in values)


@pytest.mark.parametrize(("name", "field", "value"), list(wrong_values()))
def test_an_error_names_the_field_that_is_wrong(name, field, value):
    config = config_for(name)
    with pytest.raises(InputError, match=rf"\b{field}\b") as error:
        dataclasses.replace(config, **{field: value})
    if isinstance(value, str):  # one of a few names: the error lists them
        assert f"{getattr(config, field)}" in str(error.value).split("Choose one of")[1]


@every_model
def test_every_named_choice_is_checked(name):
    """A field of type Literal accepts what its type says."""
    config = config_for(name)
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        for choice in typing.get_args(hints[field.name]):
            if typing.get_origin(hints[field.name]) is typing.Literal:
                dataclasses.replace(config, **{field.name: choice})


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        (name, field, value)
        for name in NAMES
        for field, value in (("n_fft", 1023), ("hop_length", 0), ("hop_length", 5000))
        if hasattr(config_for(name), field)
    ],
)
def test_an_stft_without_an_inverse_is_refused(name, field, value):
    with pytest.raises(InputError, match=f"{field} must"):
        config_for(name, **{field: value})


# ---- models of the registry, and a model that is not in it --------------------------


@every_registered_model
@pytest.mark.parametrize("preset", ["tiny", "paper"])
def test_presets_have_the_default_stems(name, preset):
    config = model_config(name, preset)
    assert config.stems == ("vocals", "drums", "bass", "other")
    assert config.sample_rate in (44100, 22050)
    assert config.channels == 2
    assert config.segment > 1


@every_registered_model
def test_paper_preset_runs(name):
    torch.manual_seed(0)
    # A short segment, as some models fill it with zeros
    changes = {"segment": 1.0} if segment_limit(model_config(name)) else {}
    model = create_model(name, "paper", stems=("vocals", "other"), **changes).eval()
    with torch.no_grad():
        assert model(noise(1, 2, 5000)).shape == (1, 2, 2, 5000)


@every_registered_model
def test_tiny_preset_is_tiny(name):
    assert sum(p.numel() for p in new_model(name).parameters()) < 1_000_000


def test_a_model_outside_the_registry_works_in_the_rest_of_the_package():
    model, mixture = new_model("example").eval(), noise(2, 30_000)
    estimate = mssedu.separate(model, mixture, segment=0.3)
    assert estimate.shape == (4, 2, 30_000)
    assert measure(model, segment=0.3).field.past is not None
