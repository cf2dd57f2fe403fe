"""Widgets for listening in a notebook, over one sound engine.

base       what all widgets share
player     one sound
switch     several versions, switched while they play
mixer      stems with faders
masklab    a mask on a spectrogram
pictures   waveform and spectrogram as images
loudness   levels and loudness matching
sounds     a sound as the browser gets it
"""

import lazy_loader

_NAMES = {
    "player": ["Player"],
    "switch": ["ABSwitch"],
    "mixer": ["StemMixer"],
    "masklab": ["MaskLab"],
    "brush": ["paint"],
    "base": ["ListeningWidget"],
    "loudness": ["match_loudness", "with_headroom"],
    "pictures": ["level_image", "picture"],
    "sounds": ["plain_players"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
