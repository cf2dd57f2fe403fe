"""The newer models learn one excerpt of a song by heart, with the step of the one loop.

A model with a wrong sign, a detached part or a dead activation passes every test of
shapes, and fails here.
"""

import pytest
import torch

import mssedu
from mssedu.data.loading import demo_data
from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.losses import LOSSES
from mssedu.training.step import train_step

NAMES = ["bsrnn", "bs_roformer", "d3net", "mdx_net", "mel_band_roformer"]
NAMES += ["mmdenselstm", "resunet_decouple_plus", "scnet"]
STEPS, RATE = 16, 0.01
GAIN_DB = 1.0  # over the better of silence and the mixture, after these few steps
START, LENGTH = 38.8, 0.4  # seconds of "Lithium", where all four stems sound


@pytest.fixture(scope="module")
def sources():
    track = mssedu.load_track(demo_data() / "train" / "Lithium")
    first, samples = (round(s * track.sample_rate) for s in (START, LENGTH))
    stems = [track.stem(stem) for stem in ("vocals", "drums", "bass", "other")]
    excerpt = torch.stack(stems)[None, :, :, first : first + samples]
    assert excerpt.square().mean((0, 2, 3)).min() > 1e-5  # no stem is silent
    return excerpt


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_model_learns_an_excerpt_by_heart(name, sources):
    loss = LOSSES["thresholded_snr"]  # error in dB relative to the mixture
    mixture = sources.sum(1, keepdim=True).expand_as(sources)
    nothing = min(
        float(loss(estimate=estimate, reference=sources))
        for estimate in (torch.zeros_like(sources), mixture)
    )
    torch.manual_seed(0)
    model = create_model(name, "tiny").train()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    config = TrainConfig()
    values = [
        float(train_step(model, sources, optimizer, config, loss)) for _ in range(STEPS)
    ]
    assert min(values[-3:]) < nothing - GAIN_DB, (nothing, values)
    assert min(values[-3:]) < values[0] - GAIN_DB
