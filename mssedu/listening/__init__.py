"""Listening in a notebook: play a sound, compare versions, mix stems, paint a mask.

    Player          one sound: waveform, spectrogram, a cursor over both
    ABSwitch        several versions of one sound, switched while they play
    StemMixer       stems with faders, and the residual of the mixture
    MaskLab         a mask on a spectrogram, by rule and with a brush, audible at once
    ListeningTest   the pages of a listening test, for one listener

    widgets/   the first four, with one sound engine, static/engine.js
    test/      a test: design, create, session, store; notebook, server, offline
    results/   what the ratings say: screening, intervals, tests, agreement, report

Nothing is loaded from the network, and no sound is saved in the notebook. For places
without widgets, the method `plain()` of a widget returns simple players; with the
environment variable MSSEDU_LISTENING=plain they replace every widget.

Notebook: 13.
"""

import lazy_loader

_NAMES = {
    "widgets": [
        "ABSwitch",
        "MaskLab",
        "Player",
        "StemMixer",
        "match_loudness",
        "with_headroom",
    ],
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
        "load_stimuli",
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
