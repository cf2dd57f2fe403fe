"""Errors of the first step come before the first step, with the way out."""

import copy

import pytest
import torch

from mssedu.data.track import Track
from mssedu.errors import InputError, SetupError
from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.loop import _segments
from mssedu.training.losses import waveform_l1
from mssedu.training.validation import enough_memory, rehearse

STEMS, RATE = ("hum", "hiss"), 8000
CONFIG = TrainConfig(stems=STEMS, batch_size=2, segment=0.3, device="cpu")
SONG = Track.from_audio("Song", {s: torch.rand(2, 4000) for s in STEMS}, RATE)


def error_of(model, sources):
    return waveform_l1(estimate=model(sources.sum(1)), reference=sources)


def test_the_model_stays_as_it_is():
    sizes = {"n_fft": 512, "hop_length": 128, "bins": 64, "frames": 32}
    model = create_model(
        "spleeter", "tiny", STEMS, sample_rate=RATE, filters=(2, 4), **sizes
    )
    before = copy.deepcopy(model.state_dict())
    segments = _segments([SONG], CONFIG)
    rehearse(model, segments, [SONG], CONFIG, error_of)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(InputError, match="first batch"):
        rehearse(model, segments, None, CONFIG, lambda *_: error_of(*_) * torch.nan)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_too_little_memory_names_the_flags(error):
    text = r"memory of cpu .* 2 × 0\.3 s.*--batch-size or --segment"
    with pytest.raises(SetupError, match=text), enough_memory(CONFIG):
        raise error


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), enough_memory(CONFIG):
        raise RuntimeError("shapes differ")
