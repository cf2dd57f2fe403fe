"""Listening in a notebook: hear a sound, compare several, mix stems, paint a mask.

    Player          one sound: waveform, spectrogram, a cursor over both
    ABSwitch        several versions of one sound, switched while they play
    StemMixer       stems with faders, and what the mixture has beyond their sum
    MaskLab         a mask on a spectrogram, made by hand or by rule, heard at once
    ListeningTest   a listener's seat in a test that `mssedu listen create` has made

    widgets/   those above, over one sound engine, static/engine.js
    test/      a listening test: design, create, session, store; notebook, server, offline
    results/   what the ratings say: screening, intervals, tests, agreement, report

Nothing is loaded from the network, and no sound is left in the saved notebook. Where no
widgets are shown, a widget's `plain()` gives simple players; the environment variable
MSSEDU_LISTENING=plain puts those in the place of every widget.

Notebook: 13.
"""

import lazy_loader

_NAMES = {
    "widgets": ["ABSwitch", "MaskLab", "Player", "StemMixer"],
    "test": [
        "Design",
        "Excerpts",
        "ListeningTest",
        "ResultStore",
        "Session",
        "Trial",
        "chosen_trials",
        "create_test",
        "load_design",
        "loudest_start",
        "plan",
        "save_design",
    ],
    "results": [
        "Panel",
        "draw_ratings",
        "ratings_figure",
        "ratings_frame",
        "screen",
        "sit_through",
        "write_report",
    ],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
