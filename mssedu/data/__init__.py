"""Songs with stems, and the excerpts that a model is trained on.

track      one song: its mixture and its stems
loading    `load_track`, `load_dataset`: open songs
options    the arguments of `load_dataset` that are flags of several commands
finding    find the songs of a data set, and split them by a seed
layouts    the table of the layouts that are recognized
indexes    layouts with a list of songs: CSV, data.json, metadata.yaml
folders    what lies in a folder: audio files, links, system litter
splits     train, valid and test by a seed
check      faults of songs, such as a mixture that is not the sum of its stems
doctor/    all faults of a data set at once, and a repaired copy
headers    headers of many files, from an index where possible
mapped     one decoded copy of a file
cache      decoded copies of songs, which are read at once
building/  a data set of mixes from recordings of single instruments
workers    processes that work beside this one
fetch      a public data set: license, download, checksum, unpacking
convert    write a data set in the layout of another tool; targets: their table
segments   random excerpts for training
augment    random gains, channel and sign flips, remixing of stems
effects    random filters, rooms, noise, codecs …; their parts: playing, filters, lossy
matching   which songs fit together in tempo and key
"""

from typing import Literal

import lazy_loader

# What to do if the files of one song differ in length. It is defined here because this
# file does not import torch, and the commands need it for a flag.
OnLength = Literal["error", "pad", "cut"]
# What to do if a song lacks one of the stems
OnMissing = Literal["error", "absent", "silence", "skip"]
# How often a song is chosen for a training example; see `RandomSegments`
Balance = Literal["duration", "song", "stem"]
# What is done to stems for training; see `mssedu.data.effects`
Effect = Literal[
    "eq", "reverb", "clip", "noise", "shift", "pitch", "tempo", "speed", "codec"
]
# How a decoded copy of a song is stored; see `cached`
CacheType = Literal["int16", "float16"]

_NAMES = {
    "track": ["StemFile", "Track", "data_sha256", "track_sha256"],
    "loading": ["absent_counts", "demo_data", "load_dataset", "load_track"],
    "options": ["DataOptions"],
    "finding": ["describe_songs", "find_songs", "split_songs"],
    "layouts": ["LAYOUTS", "Layout"],
    "folders": ["Song"],
    "splits": ["SPLITS", "assign_splits"],
    "check": ["check_mixtures", "check_parts", "check_track"],
    "doctor": [
        "Audit",
        "Finding",
        "Fit",
        "Landmarks",
        "Match",
        "SongMeasures",
        "audit_dataset",
        "fit_stems",
        "landmarks",
        "matches",
        "measure_song",
        "repair_dataset",
    ],
    "headers": ["Headers", "read_headers"],
    "building": ["BuildConfig", "build_dataset", "license_in"],
    "mapped": ["CachedFile"],
    "cache": ["audio_source", "cached"],
    "fetch": ["DATASETS", "PublicDataset", "fetch_dataset", "is_fetched"],
    "convert": ["Converted", "convert_dataset"],
    "targets": ["TARGETS", "Target"],
    "segments": ["RandomSegments", "Segment", "describe_mixture", "item_generator"],
    "augment": ["flip_channels", "flip_sign", "random_gain", "random_silence", "remix"],
    "effects": [
        "EFFECTS",
        "apply_effects",
        "mixup",
        "random_clip",
        "random_codec",
        "random_eq",
        "random_noise",
        "random_reverb",
        "random_shift",
    ],
    "playing": ["random_pitch", "random_speed", "random_tempo"],
    "filters": ["biquad", "biquad_response"],
    "matching": ["Music", "analyze_music", "songs_fit"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
