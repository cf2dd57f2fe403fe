"""The measured reach of networks whose reach is known by arithmetic."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mssedu.errors import InputError
from mssedu.inspect.receptive import ReceptiveField, _touched, receptive_field
from mssedu.models.registry import create_model


class Config:
    stems, sample_rate, channels, segment = ("vocals",), 8000, 2, 1.0


class Net(nn.Module):
    """Layers as a model: filled up to whole strides, cut to the length of the input."""

    def __init__(self, *layers):
        super().__init__()
        self.config = Config()
        self.layers = nn.Sequential(*layers)

    def forward(self, mixture):
        samples = mixture.shape[-1]
        x = self.layers(F.pad(mixture, (0, -samples % 32)))
        return x[..., :samples][:, None]


class Recurrent(nn.Module):
    def __init__(self, bidirectional):
        super().__init__()
        self.lstm = nn.LSTM(2, 4, batch_first=True, bidirectional=bidirectional)

    def forward(self, x):
        return self.lstm(x.mT)[0].mT


class Attention(nn.Module):
    def forward(self, x):
        return F.scaled_dot_product_attention(x.mT, x.mT, x.mT).mT


class Hides(nn.Module):
    def forward(self, x):
        return x.nan_to_num()


def conv(kernel, stride=1, padding=0, **more):
    return nn.Conv1d(2, 2, kernel, stride, padding, **more)


def transposed(kernel, stride, padding=0):
    return nn.ConvTranspose1d(2, 2, kernel, stride, padding)


@pytest.mark.parametrize(
    ("layers", "past", "future"),
    [
        ([nn.Identity()], 0, 0),
        ([conv(9, padding=4)], 4, 4),
        ([conv(3, padding=1), nn.ReLU(), conv(3, padding=4, dilation=4)], 5, 5),
        ([nn.ConstantPad1d((8, 0), 0.0), conv(9)], 8, 0),  # causal
        ([conv(8, 8), transposed(8, 8)], 7, 7),  # blocks of 8
        ([conv(16, 8, 4), transposed(16, 8, 4)], 15, 15),
        ([Recurrent(bidirectional=True)], None, None),
        ([Recurrent(bidirectional=False)], None, 0),
        ([conv(9, padding=4), Recurrent(bidirectional=False)], None, 4),
        ([Attention()], None, None),
        ([nn.GroupNorm(1, 2)], None, None),
    ],
)
def test_reach_by_arithmetic(layers, past, future):
    torch.manual_seed(0)
    field = receptive_field(Net(*layers), 1000)
    assert field == ReceptiveField(past, future)
    bounded = past is not None and future is not None
    assert field.samples == (past + 1 + future if bounded else None)


def test_strides_are_searched_for_the_greatest_reach():
    torch.manual_seed(0)
    down, up = (
        [conv(16, 8, 4), conv(8, 4, 2)],
        [transposed(8, 4, 2), transposed(16, 8, 4)],
    )
    model = Net(*down, *up)
    spans = [(i, *_touched(model, 1600, i)) for i in range(768, 768 + 32)]
    past = max(last - i for i, first, last in spans)
    future = max(i - first for i, first, last in spans)
    assert receptive_field(model, 1600) == ReceptiveField(past, future)


def test_a_reach_beyond_half_the_excerpt_looks_boundless():
    model = Net(conv(401, padding=200))
    assert receptive_field(model, 1000).samples == 401
    assert receptive_field(model, 300).samples is None
    assert receptive_field(model, 1).samples is None


def test_causal_conv_tasnet_waits_for_one_filter():
    model = create_model("conv_tasnet", "tiny", causal=True)
    field = receptive_field(model, 30_000)
    assert field.future == model.config.filter_length - 1
    assert field.past is None
    assert receptive_field(create_model("conv_tasnet", "tiny"), 30_000).future is None


def test_the_model_is_left_as_it_was():
    model = Net(nn.BatchNorm1d(2)).train()
    before = [value.clone() for value in model.state_dict().values()]
    receptive_field(model, 100)
    assert model.training
    after = model.state_dict().values()
    assert all(map(torch.equal, before, after))


def test_models_that_hide_nan_cannot_be_measured():
    with pytest.raises(InputError, match="Remove nan_to_num"):
        receptive_field(Net(Hides()), 100)
