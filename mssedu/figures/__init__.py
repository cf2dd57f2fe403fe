"""Every figure of the notebooks and reports: one style, labeled axes, units.

sound        waveforms, spectrograms, masks, scores, sweeps
networks     what happens inside a network
chunks       the laboratory of chunked inference
evaluation   scores of many tracks
errors       bleeding and the worst excerpts
listening    filters of listening tests
panel        ratings of a panel
"""

import lazy_loader

_NAMES = {
    "sound": [
        "COLORS",
        "STYLE",
        "mask_figure",
        "scores_figure",
        "spectrogram_figure",
        "sweep_figure",
        "waveform_figure",
    ],
    "networks": [
        "curves_figure",
        "histogram_figure",
        "interval_figure",
        "maps_figure",
        "mean_interval",
    ],
    "chunks": ["ChunkLab", "chunks_figure", "error_db"],
    "evaluation": ["Boxes", "boxes_figure"],
    "errors": ["bleed_figure", "excerpt_figure", "level_figure", "track_figure"],
    "listening": ["response_db", "tolerance_figure"],
    "panel": ["agreement_figure", "coverage_figure"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
