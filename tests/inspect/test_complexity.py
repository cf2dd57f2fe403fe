"""What models cost, against numbers worked out by hand."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mssedu.errors import InputError
from mssedu.inspect.complexity import count_flops, measure, peak_memory, time_forward
from mssedu.inspect.receptive import ReceptiveField
from mssedu.models.registry import create_model, list_models
from tests.models.small import SEGMENT, small_model
from tests.parity.peers import import_reference


class Config:
    stems, sample_rate, channels, segment = ("vocals",), 8000, 2, 1.0


class Smooth(nn.Module):
    """A causal filter of two samples as a whole model."""

    def __init__(self):
        super().__init__()
        self.config = Config()
        self.filter = nn.Conv1d(2, 2, 2, bias=False)
        self.norm = nn.BatchNorm1d(2)
        self.norm.weight.requires_grad_(False)

    def forward(self, mixture):
        return self.norm(self.filter(F.pad(mixture, (1, 0))))[:, None]


class Attention(nn.Module):
    def forward(self, query, key):
        return F.scaled_dot_product_attention(query, key, key)


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x):
        return self.function(x)


# ---- operations ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "shape", "macs"),
    [
        (nn.Linear(3, 5), (7, 3), 7 * 3 * 5),
        # outputs · inputs in a group · kernel · positions of the output
        (nn.Conv1d(4, 6, 5, stride=2), (2, 4, 21), 2 * 6 * 4 * 5 * 9),
        (nn.Conv1d(4, 8, 3, groups=4, padding=1), (1, 4, 10), 8 * 1 * 3 * 10),
        (nn.Conv2d(2, 3, (3, 5)), (1, 2, 10, 10), 3 * 2 * 15 * 8 * 6),
        # … of the input, if transposed: other counters take the output, 4 times as many
        (nn.ConvTranspose1d(4, 6, 8, stride=4), (1, 4, 20), 4 * 6 * 8 * 20),
        (nn.GroupNorm(1, 4), (1, 4, 10), 0),
        (Call(lambda x: torch.stft(x, 16, return_complex=True)), (1, 100), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_macs_by_hand(model, shape, macs):
    if isinstance(model, Call):
        model.function = lambda x: torch.stft(
            x, 16, window=torch.ones(16), return_complex=True
        )
    assert count_flops(model, torch.zeros(shape)) == 2 * macs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # fused, and not
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_lstm_by_hand(dtype, batch_first, training):
    """Four gates, each from input and state; twice the state's width in layer 2."""
    lstm = nn.LSTM(6, 5, 2, batch_first=batch_first, bidirectional=True).to(dtype)
    first, second = 4 * 5 * (6 + 5), 4 * 5 * (10 + 5)
    x = torch.zeros(3, 7, 6, dtype=dtype)
    macs = 3 * 7 * 2 * (first + second)
    assert count_flops(lstm.train(training), x) == 2 * macs


def test_attention_by_hand():
    """Each query meets each key, and weighs each value."""
    query, key = torch.zeros(1, 4, 30, 8), torch.zeros(1, 4, 50, 8)
    model = Call(lambda x: F.scaled_dot_product_attention(x, key, key))
    assert count_flops(model, query) == 2 * 2 * 4 * 30 * 50 * 8


def test_attention_of_torch_is_not_hidden_by_its_fast_path():
    width, tokens = 16, 10
    layer = nn.TransformerEncoderLayer(width, 2, dim_feedforward=32, batch_first=True)
    projections = 4 * width * width * tokens
    attention = 2 * tokens * tokens * width
    feedforward = 2 * width * 32 * tokens
    macs = projections + attention + feedforward
    assert count_flops(layer.eval(), torch.zeros(1, tokens, width)) == 2 * macs
    assert torch.backends.mha.get_fastpath_enabled()


def test_open_unmix_by_hand():
    """Linear layers and LSTM of the published network, frame by frame."""
    model = create_model("open_unmix", stems=("vocals",), wiener_iterations=0)
    linear = 2 * 1487 * 512 + 1024 * 512 + 512 * 2 * 2049
    lstm = 3 * 2 * 4 * 256 * (512 + 256)
    frames = 44100 // 1024 + 1
    macs = frames * (linear + lstm)
    assert count_flops(model, torch.zeros(1, 2, 44100)) == 2 * macs


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
def test_stock_htdemucs():
    """The published network in segments of 10 s: 342.5 GFLOP (models.md §6.1)."""
    htdemucs = import_reference("demucs.htdemucs")
    model = htdemucs.HTDemucs(["drums", "bass", "other", "vocals"], segment=10)
    assert sum(p.numel() for p in model.parameters()) == 26_899_536
    flops = count_flops(model, torch.zeros(1, 2, 441_000))
    assert flops / 1e9 == pytest.approx(342.5, abs=0.05)


# ---- memory and time ----------------------------------------------------------------


def test_peak_memory_by_hand():
    """Two results of 4000 bytes live at once; views and in-place steps cost nothing."""
    x = torch.zeros(1000)

    def function(x):
        doubled = x * 2  # 4000
        doubled.add_(1)
        tripled = doubled.view(10, 100) * 3  # 8000
        del doubled  # 4000
        return (tripled * 4).sum()  # 8000, then the sum: 4 more

    with peak_memory(x.device) as peak:
        function(x)
        assert peak() == 8004
        x[:10].mul_(2)
        assert peak() == 8004


def test_peak_memory_is_the_same_while_flops_are_counted():
    torch.manual_seed(0)
    model, mixture = create_model("spleeter", "tiny").eval(), torch.zeros(1, 2, 9000)
    with peak_memory(mixture.device) as peak, torch.no_grad():
        model(mixture)
    with peak_memory(mixture.device) as counting:
        count_flops(model, mixture)
    assert counting() == peak()


def test_weights_are_a_part_of_the_memory():
    costs = measure(Smooth(), segment=0.1)
    assert costs.memory_bytes > 4 * 8 + 2 * 800 * 4


def test_time_of_one_forward(monkeypatch):
    clock = iter([0.0, 0.1, 1.0, 1.2, 2.0, 3.0])
    monkeypatch.setattr(
        "mssedu.inspect.complexity.time.perf_counter", lambda: next(clock)
    )
    runs = []
    seconds = time_forward(Call(runs.append), torch.zeros(1))
    assert len(runs) == 3  # 1.3 s in all
    assert seconds == pytest.approx(0.2)


# ---- the whole ----------------------------------------------------------------------


def test_costs_of_a_known_model():
    model = Smooth()
    costs = measure(model)
    assert (costs.n_parameters, costs.n_trainable) == (8 + 4, 8 + 2)
    assert costs.n_stored == 8 + 4 + 4 + 1  # mean, variance and a counter
    assert costs.flops == 2 * 8 * 8000
    assert costs.macs == costs.flops / 2
    assert costs.field == ReceptiveField(past=1, future=0)
    assert costs.receptive_field_seconds == 2 / 8000
    assert costs.latency_seconds == 0
    assert costs.is_causal
    assert (costs.segment, costs.device) == (1.0, "CPU")
    assert costs.realtime_factor > 0
    assert model.training


def test_a_boundless_model_waits_for_its_segment():
    model = create_model("open_unmix", "tiny", stems=("vocals",))
    costs = measure(model, segment=0.5)
    assert costs.receptive_field_seconds is None
    assert costs.latency_seconds == costs.segment == 0.5
    assert not costs.is_causal


def test_segment_must_be_there():
    with pytest.raises(InputError, match="segment must"):
        measure(Smooth(), segment=0)


def test_double_precision_is_measured_too():
    assert measure(Smooth().double(), 0.1).flops == measure(Smooth(), 0.1).flops


@pytest.mark.parametrize("name", list_models())
def test_every_model_can_be_measured(name):
    torch.manual_seed(0)
    model = small_model(name)
    costs = measure(model, segment=SEGMENT)
    assert costs.n_parameters == sum(p.numel() for p in model.parameters())
    assert costs.flops > 1e6
    assert costs.memory_bytes > 4 * costs.n_parameters
    assert not costs.is_causal
    assert dataclasses.replace(costs, flops=2.0).macs == 1.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", list_models())
def test_gpu_counts_the_same(name):
    torch.manual_seed(0)
    model = create_model(name, "tiny")
    on_cpu, on_gpu = measure(model, 0.5), measure(model.cuda(), 0.5)
    assert on_gpu.flops == on_cpu.flops
    assert on_gpu.field == on_cpu.field
    assert on_gpu.memory_bytes > 0
    assert on_gpu.device != "CPU"
