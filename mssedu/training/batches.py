"""What each step reads: a batch of new examples, or always the same few.

    step k ─▶ items k·B … (k+1)·B - 1 of RandomSegments ─▶ the part of this process

So the number of the step says all about the data of a run that goes on. Notebook: 05.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader

from mssedu.data.segments import RandomSegments, Segment
from mssedu.data.track import Track
from mssedu.training.config import TrainConfig
from mssedu.training.distributed import own, part_of
from mssedu.training.signals import leave_signals, signals_wait
from mssedu.training.state import TrainState


def create_segments(tracks: Sequence[Track], config: TrainConfig) -> RandomSegments:
    """Training examples: the stems of the model, then what else is in the mixture."""
    flip = 0.5 if config.remix else 0.0  # a flip would change a song's own mixture
    return RandomSegments(
        tracks,
        config.stems or (),
        config.segment,
        config.steps * config.batch_size,
        seed=config.seed,
        remix=config.remix,
        balance=config.balance,
        min_active_db=config.min_active_db,
        level_db=config.level_db,
        gain_db=config.gain_db,
        channel_flip=flip,
        sign_flip=flip,
        silence=config.silence,
        matched=config.matched,
        mixup=config.mixup,
        effects=config.effects,
        effect_probability=config.effect_probability,
    )


def items_of(config: TrainConfig, first: int, end: int) -> Sequence[int]:
    """Numbers of the examples of the steps first … end - 1 that this process takes."""
    items = own(range(first * config.batch_size, end * config.batch_size))
    return [item % config.overfit for item in items] if config.overfit else items


def batches(segments: RandomSegments, state: TrainState) -> Iterator[Segment]:
    """The batches of the remaining steps, in order."""
    loader = DataLoader(
        segments,
        part_of(state.config.batch_size),
        sampler=items_of(state.config, state.step, state.config.steps),
        num_workers=state.config.n_workers,
        pin_memory=state.device.type == "cuda",
        generator=torch.Generator(),  # so that dropout's random numbers do not change
        worker_init_fn=leave_signals,
    )
    with signals_wait():
        return iter(loader)
