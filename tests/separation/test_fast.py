"""A model made ready, and its packed layers: the same numbers in less time."""

import contextlib
import os
import platform
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

from mssedu.errors import InputError, MssEduWarning, SetupError
from mssedu.models.blocks.dconv import DConv
from mssedu.models.blocks.hybrid import (
    DecoderLayer,
    EncoderLayer,
    FrequencyEmbedding,
    LastConvolution,
)
from mssedu.models.blocks.rotary import RMSNorm, RotaryLayer, RotaryPositions
from mssedu.models.blocks.transformer import Attention
from mssedu.models.registry import create_model
from mssedu.separation import fast
from mssedu.separation.fast import has_fast_bfloat16, pack, ready

NAMES = ["htdemucs", "hdemucs", "open_unmix", "spleeter"]
NEWER = ["bsrnn", "bs_roformer", "d3net", "mdx_net", "mel_band_roformer"]
NEWER += ["mmdenselstm", "resunet_decouple_plus", "scnet"]


def a_model(name, **changes):
    torch.manual_seed(0)
    return create_model(name, "tiny", **changes).train()


def mixture(batch=1, samples=20_000):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 2, samples, generator=generator) / 5


@contextlib.contextmanager
def rounded(model):
    """The model made ready in bfloat16, which is announced where it is slow."""
    with warns_if_slow(), ready(model, precision="bfloat16") as forward:
        yield forward


def warns_if_slow():
    if has_fast_bfloat16():
        return contextlib.nullcontext()
    return pytest.warns(MssEduWarning, match="bfloat16 is slow here")


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


@pytest.mark.parametrize("name", NEWER)
def test_newer_models_give_the_same_numbers(name):
    model = a_model(name)
    for module in model.modules():  # as after training, where no norm is neutral
        if isinstance(module, RMSNorm):
            nn.init.uniform_(module.gain, 0.5, 1.5)
    expected = plain(model, mixture())
    with ready(model) as forward:
        estimate = forward(mixture())
    assert (estimate - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_roformer_layer_copies_no_weights_twice():
    model = a_model("bs_roformer")
    layer = model.transformer.time_layers[0]
    with ready(model):
        assert "forward" in vars(layer)
        assert not any("forward" in vars(m) for m in [*layer.modules()][1:])
    assert "forward" not in vars(layer)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_rounding_noise_far_below_the_signal(name):
    model = a_model(name)
    expected = plain(model, mixture())
    with rounded(model) as forward:
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
    with rounded(model) as forward:
        assert not any(module.training for module in model.modules())
        with pytest.raises(InputError, match="mixture must be"):
            forward(mixture()[0])
        forward(mixture())
    assert [module.training for module in model.modules()] == training
    assert [set(vars(module)) for module in model.modules()] == attributes
    assert all(model.state_dict()[name].equal(value) for name, value in before.items())


def test_a_model_can_be_made_ready_inside_of_ready():
    model = a_model("htdemucs")
    expected = plain(model, mixture())
    with rounded(model) as forward:
        before = forward(mixture())
        with ready(model) as exact:
            inner = exact(mixture())
        assert forward(mixture()).equal(before)
    assert (inner - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert plain(model, mixture()).equal(expected)


def test_precision_has_a_known_name():
    with (
        pytest.raises(InputError, match=r"precision 'bf16'. Did you mean"),
        ready(a_model("spleeter"), precision="bf16"),
    ):
        pass


def test_the_cpu_has_no_float16():
    with (
        pytest.raises(InputError, match="float16 needs a GPU"),
        ready(a_model("spleeter"), precision="float16"),
    ):
        pass


# ---- processors ---------------------------------------------------------------------


@pytest.fixture
def processor(monkeypatch):
    """Put torch on a processor; gives the function that does so."""
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)

    def put(machine, aten="DEFAULT", avx512=False, amx=False, onednn=None):
        monkeypatch.setattr(platform, "machine", lambda: machine)
        backend = torch.backends.cpu
        monkeypatch.setattr(backend, "get_cpu_capability", lambda: aten)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(fast, "_onednn_has_bfloat16", lambda: onednn)

    return put


def test_which_processors_are_fast_in_bfloat16(processor):
    for avx512, amx in ((True, False), (False, True), (False, False)):
        processor("x86_64", "AVX512", avx512, amx, onednn=True)
        assert has_fast_bfloat16() == (avx512 or amx)
    for machine in ("aarch64", "arm64", "ARM64"):
        for answer in (True, False, None):
            processor(machine, onednn=answer)
            assert has_fast_bfloat16() is (answer is True)


OLD = ("SSE41", "AVX", "avx2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
NEW = ("", "ALL", "AVX512_CORE_BF16", "avx512_core_amx")
LIMITS = dict.fromkeys(OLD, False) | dict.fromkeys(NEW, True)


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(("limit", "is_fast"), LIMITS.items())
def test_onednn_may_be_limited(processor, monkeypatch, variable, limit, is_fast):
    processor("x86_64", "AVX512", avx512=True)
    monkeypatch.setenv(variable, limit)
    assert has_fast_bfloat16() is is_fast


@pytest.mark.parametrize("limit", ["DEFAULT", "AVX2"])
def test_torch_may_be_limited(processor, limit):
    processor("AMD64", limit, avx512=True, amx=True)
    assert not has_fast_bfloat16()


def test_a_cpu_without_bfloat16_is_announced(processor):
    processor("x86_64", "AVX512", onednn=True)
    with (
        pytest.warns(MssEduWarning, match="bfloat16 is slow here"),
        ready(a_model("spleeter"), precision="bfloat16") as forward,
    ):
        assert forward(mixture()).isfinite().all()


def test_an_lstm_stays_in_float32_where_there_is_none_in_bfloat16(processor):
    processor("x86_64", "AVX2", onednn=False)
    model = a_model("open_unmix")
    lstms = [m for m in model.modules() if isinstance(m, torch.nn.LSTM)]
    given = []
    for lstm in lstms:
        lstm.register_forward_hook(lambda *call: given.append(call[2][0].dtype))
    expected = plain(model, mixture())
    given.clear()
    with rounded(model) as forward:
        estimate = forward(mixture())
    assert given == [torch.float32] * len(lstms) != []
    assert 0 < (estimate - expected).square().sum() < 1e-2 * expected.square().sum()
    assert not any("forward" in vars(lstm) for lstm in lstms)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="limits an x86-64 processor")
def test_an_old_processor_computes_what_a_new_one_does():
    """In a process of its own: these variables are read as torch is loaded."""
    limits = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    tests = f"{__file__}::test_bfloat16_is_rounding_noise_far_below_the_signal"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=300, env=os.environ | limits
    )
    assert done.returncode == 0, done.stdout
    assert f"{len(NAMES)} passed" in done.stdout


# ---- compiled -----------------------------------------------------------------------


def test_compile_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with (
        pytest.raises(SetupError, match=r"C[+][+] compiler"),
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

    monkeypatch.setattr(fast.ctypes, "CDLL", Library)
    fast.reuse_memory()
    assert [option for option, _ in calls] == [-4, -1, -2]

    def no_library(name):
        raise OSError(name)

    monkeypatch.setattr(fast.ctypes, "CDLL", no_library)
    fast.reuse_memory()  # macOS, Windows, musl
    assert len(calls) == 3


# ---- packed layers ------------------------------------------------------------------

DCONV = {"compress": 4, "init": 0.5}


def lively(module):
    """No parameter at its default: every scale and bias counts."""
    generator = torch.Generator().manual_seed(0)
    for value in module.parameters():
        value.data = torch.randn(value.shape, generator=generator) / 3 + 0.1
    return module.eval()


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(
    ("module", "method", "inputs"),
    [
        (DConv(8, **DCONV), "forward", (noise(3, 8, 50),)),
        (DConv(8, depth=3, **DCONV), "forward", (noise(1, 8, 50),)),
        (
            DConv(16, lstm=True, attention=True, **DCONV),
            "forward",
            (noise(2, 16, 250),),
        ),
        (EncoderLayer(4, 8, freq=True, dconv=DCONV), "forward", (noise(2, 4, 32, 9),)),
        (EncoderLayer(4, 8, freq=False, dconv=DCONV), "forward", (noise(2, 4, 35),)),
        (EncoderLayer(4, 8, freq=True), "forward", (noise(1, 4, 32, 9),)),
        (
            EncoderLayer(4, 8, freq=True, pad=False),
            "forward",
            (noise(2, 4, 8, 9), noise(2, 8, 9)),
        ),
        (
            DecoderLayer(8, 4, freq=True, dconv=DCONV),
            "forward",
            (noise(2, 8, 8, 9), 32, noise(2, 8, 8, 9)),
        ),
        (
            DecoderLayer(8, 4, freq=False, last=True, dconv=DCONV),
            "forward",
            (noise(2, 8, 9), 35, noise(2, 8, 9)),
        ),
        (
            DecoderLayer(8, 4, freq=False, kernel_size=4, stride=2),
            "forward",
            (noise(1, 8, 9), 17, noise(1, 8, 9)),
        ),
        (
            LastConvolution(8, 4, freq=False, n_groups=2),
            "forward",
            (noise(2, 8, 9), 36),
        ),
        (LastConvolution(8, 4, freq=True, n_groups=2), "grow", (noise(2, 8, 1, 9), 4)),
        (FrequencyEmbedding(16, 4), "forward", (noise(2, 4, 16, 9),)),
        (Attention(16, 2), "forward", (noise(2, 30, 16), noise(2, 20, 16))),
        (
            RotaryLayer(16, 2, 6, norm=True),
            "forward",
            (noise(3, 9, 16), RotaryPositions(6)(9)),
        ),
        (nn.Linear(16, 8), "forward", (noise(2, 5, 16),)),
        (nn.Linear(16, 8, bias=False), "forward", (noise(7, 16),)),
    ],
)
def test_the_packed_form_gives_the_same(module, method, inputs):
    lively(module)
    with torch.no_grad():
        expected = getattr(module, method)(*inputs)
        packed = pack(module, torch.float32)
        assert packed
        vars(module).update(packed)
        got = getattr(module, method)(*inputs)
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_branch_of_dconv_stays_exact_beside_a_large_offset():
    # A variance as the mean square less the squared mean would be noise here.
    module = lively(DConv(8, **DCONV))
    for layer in module.layers:
        layer[3].bias.data += 300.0
    x = noise(2, 8, 50)
    with torch.no_grad():
        expected = module.double()(x.double())
        packed = pack(module.float(), torch.float32)["forward"](x)
    assert (packed - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_layers_with_norms_and_layers_of_other_models_stay_as_they_are():
    assert not pack(EncoderLayer(4, 8, freq=True, n_groups=2), torch.float32)
    assert not pack(nn.Conv1d(2, 2, 1), torch.float32)
    assert not pack(RotaryLayer(16, 2, 6), torch.bfloat16)
    grown = pack(DecoderLayer(8, 4, freq=True, n_groups=2), torch.float32)
    assert list(grown) == ["grow"]
