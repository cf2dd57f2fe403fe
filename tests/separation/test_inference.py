"""A model made ready: the same numbers by another way, the model as it was after."""

import shutil

import pytest
import torch

from mssedu.checks import InputError, MssEduWarning, SetupError
from mssedu.registry import create_model
from mssedu.separation import inference
from mssedu.separation.inference import ready

NAMES = ["htdemucs", "hdemucs", "open_unmix", "spleeter"]


def a_model(name, **changes):
    torch.manual_seed(0)
    return create_model(name, "tiny", **changes).train()


def mixture(batch=1, samples=20_000):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 2, samples, generator=generator) / 5


def plain(model, audio):
    with torch.no_grad():
        return model.eval()(audio)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_float32_gives_the_same_numbers(name, batch):
    model = a_model(name)
    expected = plain(model, mixture(batch))
    with ready(model) as forward:
        estimate = forward(mixture(batch))
    assert estimate.dtype is torch.float32
    assert not estimate.requires_grad
    assert (estimate - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_rounding_noise_far_below_the_signal(name):
    model = a_model(name)
    expected = plain(model, mixture())
    with ready(model, precision="bfloat16") as forward:
        estimate = forward(mixture())
    assert estimate.dtype is torch.float32
    noise = (estimate - expected).square().sum()
    assert 0 < noise < 1e-2 * expected.square().sum()


def test_afterwards_the_model_is_as_it_was():
    model = a_model("htdemucs")
    model.encoder.eval()  # one part frozen
    before = {name: value.clone() for name, value in model.state_dict().items()}
    training = [module.training for module in model.modules()]
    attributes = [set(vars(module)) for module in model.modules()]
    with ready(model, precision="bfloat16") as forward:
        assert not any(module.training for module in model.modules())
        with pytest.raises(InputError, match="float mixture"):
            forward(mixture()[0])
        forward(mixture())
    assert [module.training for module in model.modules()] == training
    assert [set(vars(module)) for module in model.modules()] == attributes
    assert all(model.state_dict()[name].equal(value) for name, value in before.items())


def test_a_model_can_be_made_ready_inside_of_ready():
    model = a_model("htdemucs")
    expected = plain(model, mixture())
    with ready(model, precision="bfloat16") as rounded:
        before = rounded(mixture())
        with ready(model) as exact:
            inner = exact(mixture())
        assert rounded(mixture()).equal(before)
    assert (inner - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert plain(model, mixture()).equal(expected)


def test_precision_has_a_known_name():
    with (
        pytest.raises(InputError, match=r"a precision of .*, got 'bf16'. Did you mean"),
        ready(a_model("spleeter"), precision="bf16"),
    ):
        pass


def test_the_cpu_has_no_float16():
    with (
        pytest.raises(InputError, match="expected float32 or bfloat16 on the CPU, got"),
        ready(a_model("spleeter"), precision="float16"),
    ):
        pass


def test_a_cpu_without_bfloat16_is_announced(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with (
        pytest.warns(MssEduWarning, match="bfloat16: slow here"),
        ready(a_model("spleeter"), precision="bfloat16") as forward,
    ):
        assert forward(mixture()).isfinite().all()


def test_compile_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with (
        pytest.raises(SetupError, match=r"expected a C[+][+] compiler, got none"),
        ready(a_model("spleeter"), compile=True),
    ):
        pass


def test_compile_hands_the_model_to_torch(monkeypatch):
    given = []

    def compiled(model):
        given.append(model)
        return model

    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(torch, "compile", compiled)
    model = a_model("spleeter")
    with ready(model, compile=True) as forward:
        assert forward(mixture()).shape == (1, 4, 2, 20_000)
    assert given == [model]


def test_memory_is_kept_where_the_allocator_can_be_told(monkeypatch):
    calls = []

    class Library:
        def __init__(self, name):
            if name != "libc.so.6":
                raise OSError(name)

        def mallopt(self, option, value):
            calls.append((option, value))

    monkeypatch.setattr(inference.ctypes, "CDLL", Library)
    inference.reuse_memory()
    assert [option for option, _ in calls] == [-4, -1, -2]

    def no_library(name):
        raise OSError(name)

    monkeypatch.setattr(inference.ctypes, "CDLL", no_library)
    inference.reuse_memory()  # macOS, Windows, musl
    assert len(calls) == 3
