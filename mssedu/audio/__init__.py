"""Sound: files, sample rates, channels and levels.

tensors      a whole sound in memory: load, save, resample, match channels, measure
containers   what is inside a file: WAV, FLAC, MP3, M4A, .stem.mp4
stream       long files in blocks: scan, read, resample
writer       files of any length, written so that no half file stays behind
"""

import lazy_loader

_NAMES = {
    "tensors": [
        "AudioInfo",
        "audio_info",
        "load_audio",
        "loudness_lufs",
        "match_channels",
        "peak_db",
        "resample",
        "resampled_length",
        "rms_db",
        "save_audio",
    ],
    "containers": ["READABLE_SUFFIXES", "probe"],
    "stream": ["Reader", "Scan", "Spool", "read_blocks", "resample_blocks", "scan"],
    "writer": ["AudioWriter"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
