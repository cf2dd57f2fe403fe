"""thop's counts: by hand for each layer, and all figures of the record, exactly."""

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.inspect.complexity import count_flops
from mssedu.inspect.costs import RECORD, count_costs, model_at
from mssedu.inspect.thop import thop_counts
from mssedu.models.blocks.transformer import Attention, LinearAttention
from mssedu.models.registry import list_models

# name: GFLOP of 10 s with four stems, thop's G and M of the record or of its code
FIGURES = {
    "htdemucs": (342.53, 137.52, 20.93),
    "htdemucs_p": (421.55, 89.14, 53.57),
    "htdemucs_i": (262.40, 99.01, 77.92),
    "htdemucs_c": (233.68, 217.38, 46.95),
    "htdemucs_s": (383.42, 314.81, 29.59),
    "htdemucs_d": (384.17, 104.32, 29.19),
    "htdemucs_d2": (356.30, 231.08, 59.14),
    "htdemucs_d3": (410.79, 284.49, 11.57),
    "htdemucs_d4": (329.01, 280.50, 25.46),
    "htdemucs_n": (125.27, 86.27, 9.61),
    "htdemucs_nc": (337.59, 233.23, 33.06),
    "htdemucs_nf": (555.26, 400.00, 27.39),
    "htdemucs_nn": (119.81, 83.54, 9.60),
    "htdemucs_dn": (165.87, 106.57, 9.65),
    "htdemucs_dnf": (356.18, 196.23, 3.39),
}
QUICK = ["htdemucs_nc", "htdemucs_dnf"]  # the others take seconds each


@pytest.mark.parametrize(
    ("layer", "shape", "macs", "n_parameters"),
    [
        (nn.Conv1d(4, 6, 3), (1, 4, 10), 8 * 6 * 4 * 3, 78),
        (nn.Conv1d(4, 6, 3, groups=2), (1, 4, 10), 8 * 6 * 2 * 3, 42),
        (nn.Conv2d(4, 6, (3, 1)), (2, 4, 10, 5), 2 * 8 * 5 * 6 * 4 * 3, 78),
        # 4 outputs for each input: true are 10 · 4 · 6 · 8
        (nn.ConvTranspose1d(4, 6, 8, 4), (1, 4, 10), 44 * 6 * 4 * 8, 198),
        (nn.Linear(4, 6), (2, 10, 4), 20 * 6 * 4, 30),
        (nn.LayerNorm(4), (2, 10, 4), 4 * 80, 8),
        (nn.LayerNorm(4, elementwise_affine=False), (2, 10, 4), 2 * 80, 0),
        (nn.GroupNorm(1, 4), (2, 4, 10), 0, 0),
    ],
    ids=str,
)
def test_a_layer_counts_by_the_rules(layer, shape, macs, n_parameters):
    assert thop_counts(layer, torch.zeros(shape)) == (macs, n_parameters)


def test_attention_counts_nothing_unless_it_is_linear():
    class Self(nn.Module):
        def __init__(self, attention):
            super().__init__()
            self.attention = attention

        def forward(self, x):
            return self.attention(x, x)

    x = torch.zeros(1, 50, 16)
    assert thop_counts(Self(Attention(16, 2)), x) == (0, 0)
    linear = Self(LinearAttention(16, 2))
    assert thop_counts(linear, x) == (4 * 50 * 16 * 16, 4 * (16 * 16 + 16))


def test_a_layer_that_runs_twice_counts_twice_and_is_stored_once():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, layer)
    assert thop_counts(model, torch.zeros(1, 4)) == (2 * 16, 20)
    model.train()
    thop_counts(model, torch.zeros(1, 4))
    assert model.training
    assert not layer._forward_hooks


def matches(name):
    counts, (gflop, giga, million) = count_costs(name), FIGURES[name]
    assert counts.flops / 1e9 == pytest.approx(gflop, abs=0.006)
    assert counts.thop_macs_of_record / 1e9 == pytest.approx(giga, abs=0.006)
    assert counts.thop_parameters / 1e6 == pytest.approx(million, abs=0.006)
    if counts.quoted.giga is not None:
        assert (counts.quoted.giga, counts.quoted.million) == (giga, million)
    return counts


@pytest.mark.parametrize("name", QUICK)
def test_figures_of_the_record(name):
    counts = matches(name)
    assert counts.thop_macs == counts.thop_macs_of_record


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RECORD if name not in QUICK])
def test_figures_of_the_record_that_take_longer(name):
    counts = matches(name)
    at_10_s = {"htdemucs_p": 111.36, "htdemucs_i": 244.78, "htdemucs_d": 259.41}
    if name in at_10_s:  # the record quotes 8, 4 and 4 s
        assert counts.thop_macs / 1e9 == pytest.approx(at_10_s[name], abs=0.006)
    else:
        assert counts.thop_macs == counts.thop_macs_of_record


def test_the_record_is_about_its_variants_and_their_baseline():
    variants = {name for name in list_models() if name.startswith("htdemucs")}
    assert variants == {*RECORD}


def test_other_sizes_have_no_figures_in_the_record():
    tiny = count_costs("htdemucs_nc", "tiny", segment=0.5)
    assert (tiny.quoted, tiny.thop_macs_of_record) == (None, None)
    one = count_costs("htdemucs_nc", segment=0.5, stems=("instrumental",))
    assert one.quoted is None
    assert one.n_parameters == 33_126_830


@pytest.mark.parametrize("name", ["htdemucs_p", "htdemucs_n", "open_unmix"])
def test_what_is_counted_without_computing_is_what_is_computed(name):
    counts = count_costs(name, "tiny", segment=0.3)
    model = model_at(name, "tiny", 0.3)
    mixture = torch.zeros(1, 2, round(0.3 * 44100))
    assert count_flops(model, mixture) == counts.flops
    assert thop_counts(model, mixture)[0] == counts.thop_macs


def test_a_segment_is_above_zero():
    with pytest.raises(InputError, match="segment must be greater than 0"):
        count_costs("htdemucs", segment=0.0)
