"""Sound: files, sample rates, channels and levels.

tensors      a whole sound in memory: load, save, resample, match channels, measure
damage       what a file promises and what it holds: headers, pages, checksums
sndfile      decode WAV, AIFF, FLAC and Ogg, from any sample on
ffmpeg       decode all other formats: MP3, M4A, .stem.mp4, films
containers   open a file with the decoder that can read it
stream       long files in blocks: scan, read, resample
writer       audio files of any length, written whole or not at all
files        the same for texts and JSON; hashes of files
names        names of songs and stems as names of files
words        numbers with their nouns, for messages
repository   the folder of the songs and of the model that the repository holds
disk         free space, and the folder for caches
download     a file from the network: limits, going on after a break, checksums
"""

import lazy_loader

_NAMES = {
    "tensors": [
        "AudioInfo",
        "audio_info",
        "is_source",
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
    "writer": ["AudioWriter", "flac_bytes"],
    "download": ["fetch"],
    "files": [
        "as_json",
        "file_sha256",
        "tupled",
        "write_bytes",
        "write_json",
        "write_text",
        "written_whole",
    ],
    "names": ["file_name", "file_names", "path_inside"],
    "disk": ["cache_folder", "check_room"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
