"""Widgets for listening in a notebook, with one sound engine, static/engine.js.

players    one sound; versions, switched while they play; stems with faders
masklab    a mask on a spectrogram, by rule and with a brush
loudness   equal loudness before a comparison
base       what all widgets share
sounds     sounds as the browser gets them, and plain players
pictures   spectrograms as images
still      the picture of a widget in a saved notebook
"""

import lazy_loader

_NAMES = {
    "players": ["ABSwitch", "Player", "StemMixer"],
    "masklab": ["MaskLab", "paint"],
    "loudness": ["Gain", "match_loudness", "matching_gain", "with_headroom"],
    "base": ["ListeningWidget"],
    "sounds": ["encode", "plain_players"],
    "pictures": ["level_image", "picture"],
    "still": ["picture_data"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
