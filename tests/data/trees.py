"""Small trees of songs for the tests of layouts and loading."""

from pathlib import Path

import av
import numpy as np
import soundfile as sf

from mssedu.data.folders import STEM_MP4_STREAMS
from mssedu.data.layouts import STEMS

RATE = 8000


def write_song(
    folder: Path,
    stems=STEMS,
    *,
    suffix: str = ".wav",
    n_samples: int = 800,
    rate: int = RATE,
    channels: int = 2,
) -> Path:
    """A song whose stems are constants 0.01, 0.02, … in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    for level, stem in enumerate(stems, start=1):
        audio = np.full((n_samples, channels), level / 100, np.float32)
        sf.write(folder / f"{stem}{suffix}", audio, rate)
    return folder


def write_stem_mp4(path: Path, seconds: float = 1.0) -> Path:
    """Five AAC streams as in MUSDB18; stream k carries a sine of 200 · (k + 1) Hz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = 44100
    time = np.arange(round(seconds * rate)) / rate
    with av.open(str(path), "w", format="mp4") as container:
        streams = [
            container.add_stream("aac", rate=rate, layout="stereo")
            for _ in STEM_MP4_STREAMS
        ]
        for index, stream in enumerate(streams):
            sine = 0.2 * np.sin(2 * np.pi * 200 * (index + 1) * time)
            audio = np.tile(sine.astype(np.float32), (2, 1))
            frame = av.AudioFrame.from_ndarray(audio, "fltp", "stereo")
            frame.sample_rate = rate
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)
    return path
