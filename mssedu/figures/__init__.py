"""Every figure of the notebooks and reports: one style, labeled axes, units.

style        colors, fonts and grids of axes that all figures share; captions
words        sentences of captions and alt texts, made from the data
sound        waveforms, spectrograms, masks
scores       scores of one song, of many songs, and over the values of a setting
networks     values inside a network, and training runs compared
curves       learning curves of training runs
chunks       chunked inference, with a laboratory
architectures  drawings of the networks; blueprints says what they show
field        systems of the field by year, score, size and speed
costs        costs of models and of attention, windows in each stem
levels       drawings of the HTDemucs variants side by side
tradeoffs    scores against costs, with the front of the best choices
errors       bleeding, scores over time and level, the worst excerpts
listening    filters of listening tests, intervals, ratings against scores
"""

import lazy_loader

_NAMES = {
    "style": ["COLORS", "STYLE", "describe"],
    "sound": ["mask_figure", "spectrogram_figure", "waveform_figure"],
    "scores": ["Boxes", "boxes_figure", "scores_figure", "sweep_figure"],
    "networks": [
        "curves_figure",
        "histogram_figure",
        "interval_figure",
        "maps_figure",
    ],
    "curves": ["RunCurves", "learning_figure", "read_curves"],
    "chunks": ["ChunkLab", "chunks_figure", "error_db"],
    "architectures": [
        "architecture_figure",
        "architecture_names",
        "architecture_text",
    ],
    "field": ["map_figure"],
    "costs": ["attention_figure", "costs_figure", "fusion_figure"],
    "levels": ["levels_figure"],
    "tradeoffs": ["pareto_figure"],
    "errors": ["bleed_figure", "excerpt_figure", "level_figure", "track_figure"],
    "listening": [
        "agreement_figure",
        "coverage_figure",
        "response_db",
        "tolerance_figure",
    ],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
