"""What a separation would do and cost, before it is done: one chunk is measured.

Nothing is estimated from tables: the model itself separates a chunk of noise, with all
settings, on the device that will be used. A song takes that time per chunk.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mssedu.inspect.complexity import peak_memory
from mssedu.models.contract import config_of, device_of
from mssedu.separation.files import Job, split_settings
from mssedu.separation.song import Song
from mssedu.separation.song_files import is_finished
from mssedu.separation.tensors import plan_chunks, separate, settled


@dataclass(frozen=True)
class Cost:
    """Of separating one chunk."""

    chunk_seconds: float
    memory_bytes: int  # weights, and all tensors of a batch of chunks alive at once
    device: str


@dataclass(frozen=True)
class FilePlan:
    """What would be done with one file."""

    song_seconds: float  # 0 where nothing is to be done
    n_chunks: int  # 0: finished before, to be skipped
    outputs: list[Path]


def measure(model: nn.Module, settings: dict[str, Any]) -> Cost:
    """Separate a batch of chunks of noise, once to warm up and once to measure.

    Args:
        settings: of `mssedu.separate_file`.
    """
    _, config = split_settings(settings)
    model_config = config_of(model)
    rate, batch_size = model_config.sample_rate, config.batch_size
    config = settled(replace(config, shifts=0), model_config, 60 * rate)
    # Chunks side by side, as many as one batch holds
    samples = batch_size * round((config.segment or 0) * rate)
    config = replace(config, overlap=0.0)
    noise = 0.1 * torch.randn(
        model_config.channels, samples, generator=torch.Generator().manual_seed(0)
    )
    options = {name: getattr(config, name) for name in vars(config)}
    device = device_of(model)
    with peak_memory(device) as peak:
        separate(model, noise, **options)
        memory = peak()
    started = time.perf_counter()
    separate(model, noise, **options)
    seconds = (time.perf_counter() - started) / batch_size
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    return Cost(seconds, memory + weights, str(device))


def plan_file(
    model: nn.Module, path: Path, out_dir: Path, track: str, settings: dict[str, Any]
) -> FilePlan:
    """Look at a file as `mssedu.separate_file` would, and stop before the work.

    Raises:
        AudioFileError, InputError: as `separate_file`.
    """
    files, config = split_settings(settings)
    job = Job.of(model, path, out_dir, files, config, track)
    outputs = [*job.outputs.values(), job.report]
    if is_finished(outputs, files.exists):
        return FilePlan(0.0, 0, outputs)
    song, model_config = Song.open(path, files), config_of(model)
    samples = song.length(model_config.sample_rate)
    config = settled(song.seeded(config), model_config, samples)
    chunks = plan_chunks(model_config, samples, config)
    seconds = song.scan.samples / song.scan.sample_rate
    return FilePlan(seconds, len(chunks.starts), outputs)
