"""Listening in a notebook: hear a sound, compare several, mix stems, paint a mask.

    Player          one sound: waveform, spectrogram, a cursor over both
    ABSwitch        several versions of one sound, switched while they play
    StemMixer       stems with faders, and what the mixture has beyond their sum
    MaskLab         a mask on a spectrogram, made by hand or by rule, heard at once
    ListeningTest   a listener's seat in a test that `mssedu listen create` has made

Every widget is a page of JavaScript over one small engine, static/engine.js, and a
Python object that holds the sounds and the decisions. Nothing is loaded from the
network, and no sound is left in the saved notebook. Where no widgets are shown, a
widget's `plain()` gives simple players; the environment variable
MSSEDU_LISTENING=plain puts those in the place of every widget.

Notebook: 13.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mssedu.listening.test.notebook import ListeningTest
    from mssedu.listening.widgets.masklab import MaskLab
    from mssedu.listening.widgets.mixer import StemMixer
    from mssedu.listening.widgets.player import Player
    from mssedu.listening.widgets.switch import ABSwitch

__all__ = ["ABSwitch", "ListeningTest", "MaskLab", "Player", "StemMixer"]

# Loaded on first use: what only counts ratings needs no widgets.
_WIDGETS = {
    "ABSwitch": "mssedu.listening.widgets.switch",
    "ListeningTest": "mssedu.listening.test.notebook",
    "MaskLab": "mssedu.listening.widgets.masklab",
    "Player": "mssedu.listening.widgets.player",
    "StemMixer": "mssedu.listening.widgets.mixer",
}


def __getattr__(name: str) -> Any:
    if name in _WIDGETS:
        return getattr(importlib.import_module(_WIDGETS[name]), name)
    raise AttributeError(f"module 'mssedu.listening' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
