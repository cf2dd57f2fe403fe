"""Sounds and files that several tests of audio share."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

FORMATS = pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
STEP = 2.0**-15  # one 16-bit step
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def noise(*shape: int) -> torch.Tensor:
    """Uniform noise within ±0.1; (2, 50000) if no shape is given."""
    return 0.2 * torch.rand(shape or (2, 50_000)) - 0.1


def ragged(audio: torch.Tensor, longest: int = 4000) -> list[torch.Tensor]:
    """The audio cut at random into blocks of 1 … longest samples."""
    rng, start, blocks = np.random.default_rng(1), 0, []
    while start < audio.shape[-1]:
        end = start + int(rng.integers(1, longest + 1))
        blocks.append(audio[..., start:end])
        start = end
    return blocks


def encode(
    path: Path, *streams: torch.Tensor, codec: str = "aac", rate: int = 44100, **options
) -> Path:
    """Write each (channels, samples) as one audio stream of a file, with FFmpeg."""
    with av.open(str(path), "w", options=options) as container:
        tracks = []
        for audio in streams:
            layout = LAYOUTS[len(audio)]
            tracks.append(container.add_stream(codec, rate=rate, layout=layout))
            tracks[-1].bit_rate = 128_000
        for audio, track in zip(streams, tracks, strict=True):
            layout = LAYOUTS[len(audio)]
            data = np.ascontiguousarray(audio.numpy())
            frame = av.AudioFrame.from_ndarray(data, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            container.mux(track.encode(frame))
            container.mux(track.encode(None))
    return path
