"""Sounds for tests that need any sounds: noise, another one in each file."""

import torch

from mssedu.audio.tensors import save_audio


def write_noise(folder, names, sample_rate, *, channels=1, seconds=1):
    """FOLDER/NAME.wav for each name."""
    draw = torch.Generator().manual_seed(0)
    for name in names:
        audio = 0.1 * torch.randn(channels, seconds * sample_rate, generator=draw)
        save_audio(folder / f"{name}.wav", audio, sample_rate, subtype="float32")
