"""Scores of a test set, between silence, mixture and oracle.

run              `evaluate`
estimates        where estimates come from: a model, files, a function
oracles          ideal masks and filters
track            all rows of one track
result           `Evaluation`: what was found
statistics       intervals, paired tests, effect sizes
comparison       two systems on the same tracks
published        scores from papers
error_analysis   what bleeds into what, when and how loud
"""

import lazy_loader

_NAMES = {
    "run": ["evaluate"],
    "estimates": [
        "Estimates",
        "FileEstimates",
        "FunctionEstimates",
        "ModelEstimates",
        "content_sha256",
    ],
    "oracles": ["ORACLES", "oracle_estimate"],
    "track": ["ROWS", "TrackScores", "score_track"],
    "result": ["Evaluation", "load_evaluation"],
    "statistics": [
        "PairedTest",
        "bootstrap_interval",
        "holm",
        "paired_test",
        "smallest_p",
    ],
    "comparison": ["Comparison", "compare", "comparison_note", "comparison_table"],
    "published": ["published_beside", "published_scores", "published_table"],
    "error_analysis": ["ErrorAnalysis", "analyze_errors"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
