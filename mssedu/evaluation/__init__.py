"""Scores of a test set, beside silence, mixture and oracles.

run              `evaluate`: score a model or stems on disk
estimates        sources of estimates: a model, files, a function
oracles          ideal masks and filters
track            all scores of one track
result           `Evaluation`: scores, means, intervals, DataFrames
store            files of an evaluation: finished tracks, stems, museval's JSON
statistics       intervals, paired tests, effect sizes
comparison       two or more systems on the same tracks
protocol         what a comparison will decide, written before its training
claims           whether a claim holds: scores of songs and seeds, verdict
variance         the spread of scores by songs and seeds
repeats          several trainings of one system: the mean of their scores
published        scores from papers
error_windows    scores over time, in windows of a second
error_analysis   where a separator fails: bleed, score over time, worst moments
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
    "track": ["ROWS", "Job", "TrackScores", "find_lag", "score_track"],
    "result": ["Evaluation", "Summary", "load_evaluation"],
    "store": ["StemStore", "ScoreStore"],
    "statistics": [
        "PairedTest",
        "bootstrap_interval",
        "equivalence_p",
        "holm",
        "mean_interval",
        "paired_test",
        "smallest_p",
    ],
    "comparison": ["Comparison", "compare", "comparison_note", "comparison_table"],
    "protocol": ["Protocol", "check_same_protocol", "read_protocol"],
    "claims": [
        "Study",
        "Verdict",
        "check_study",
        "excerpts_by_rule",
        "judge",
        "load_study",
        "verdict_word",
    ],
    "variance": ["VarianceSplit", "split_variance"],
    "repeats": ["mean_of_runs", "song_means", "stem_average"],
    "published": ["published_beside", "published_scores", "published_table"],
    "error_analysis": ["ErrorAnalysis", "analyze_errors"],
    "error_windows": ["Windows", "score_by_level", "score_windows", "worst_windows"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
