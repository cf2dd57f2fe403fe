"""What a model is trained on: random examples, in batches, from any step on."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mssedu.datasets.segments import RandomSegments
from mssedu.datasets.track import Track
from mssedu.training.config import TrainConfig
from mssedu.training.interrupt import leave_signals, signals_wait
from mssedu.training.state import TrainState


def segments_of(tracks: Sequence[Track], config: TrainConfig) -> RandomSegments:
    """Training examples: the stems of the model, then what else is in the mixture."""
    flip = 0.5 if config.remix else 0.0  # else a stem would leave its place in the song
    return RandomSegments(
        tracks,
        config.stems or (),
        config.segment,
        config.steps * config.batch_size,
        seed=config.seed,
        remix=config.remix,
        level_db=config.level_db,
        gain_db=config.gain_db,
        channel_flip=flip,
        sign_flip=flip,
        silence=config.silence,
    )


def batches(segments: RandomSegments, state: TrainState) -> Iterator[Tensor]:
    """The batches of the steps that are left, in order."""
    size, steps = state.config.batch_size, state.config.steps
    loader = DataLoader(
        segments,
        size,
        sampler=range(state.step * size, steps * size),
        num_workers=state.config.n_workers,
        pin_memory=state.device.type == "cuda",
        generator=torch.Generator(),  # the global one belongs to the model's dropout
        worker_init_fn=leave_signals,
    )
    with signals_wait():
        return iter(loader)
