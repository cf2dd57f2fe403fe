"""Lengths that decide: one graph for a mixture of one block or span, and for more."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mssedu.export import export_onnx
from mssedu.export.any_length import for_any_length
from mssedu.models import demucs
from mssedu.models.blocks.dconv import BiLSTM
from mssedu.models.registry import model_config
from mssedu.weights import load_model
from tests.export.small import SmallConfig

LENGTHS = (1, 7, 8, 9, 13, 100, 4000, 5001, 9000)  # a segment has 4000


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 11, 12, 13, 50])
@pytest.mark.parametrize("max_frames", [8, None])
def test_a_bilstm_without_a_branch_computes_the_same(frames, max_frames):
    torch.manual_seed(0)
    lstm = BiLSTM(4, 1, max_frames, skip=True)
    x = torch.randn(3, 4, frames)
    want = lstm(x)
    with for_any_length():
        got = lstm(x)
    torch.testing.assert_close(got, want, atol=1e-6, rtol=0)
    assert BiLSTM.forward.__name__ == "forward"


@pytest.mark.parametrize(
    "config",
    [
        demucs.DemucsConfig(),
        demucs.DemucsConfig(resample=False, depth=1),
        model_config("demucs", "tiny"),
    ],
)
def test_the_length_of_demucs_is_the_same(config):
    lengths = [*range(1, 2000), 30_001, 441_000]
    want = [demucs.valid_length(config, samples) for samples in lengths]
    with for_any_length():
        assert [demucs.valid_length(config, samples) for samples in lengths] == want


class Spans(nn.Module):
    """As in HDemucs: what is longer than a span is cut."""

    def __init__(self):
        super().__init__()
        self.config = SmallConfig()
        self.lstm = BiLSTM(2, 1, 8)

    def forward(self, mixture):
        estimate = self.lstm(mixture)
        return torch.stack([estimate, mixture - estimate], dim=1)


class Blocks(nn.Module):
    """As in Spleeter: blocks of a segment, each an item of the batch."""

    def __init__(self):
        super().__init__()
        self.config = SmallConfig()
        self.mix = nn.Conv2d(2, 4, (1, 5), padding=(0, 2))

    def forward(self, mixture):
        samples = mixture.shape[-1]
        padded = F.pad(mixture[0], (0, -samples % 4000))
        blocks = padded.unflatten(1, (-1, 4000)).movedim(1, 0)
        x = self.mix(blocks[:, :, None])[:, :, 0].movedim(0, 1).flatten(1)
        return x[:, :samples].unflatten(0, (1, 2, 2))


@pytest.mark.parametrize("kind", [Spans, Blocks])
def test_a_file_is_right_on_both_sides_of_a_length_that_decides(kind, tmp_path):
    torch.manual_seed(0)
    model = kind().eval()
    loaded = load_model(export_onnx(model, tmp_path / "model.onnx"))
    for samples in LENGTHS:
        mixture = torch.randn(1, 2, samples)
        with torch.no_grad():
            want = model(mixture)
        torch.testing.assert_close(loaded(mixture), want, atol=1e-5, rtol=0)
