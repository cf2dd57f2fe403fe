"""The results of a listening test: statistics, tables, report and files.

ratings     screening of listeners, means, intervals, Friedman's test, pairs, power
choices     abx and 2afc: counts, d′, the fewest right answers that are significant
agreement   do listeners repeat their ratings, and does a metric rank systems alike?
tables      ratings, pairs and choices as DataFrames
report      an HTML page with a figure, and tables for LaTeX
export      DataFrame, CSV and JSON
simulate    a panel of simulated listeners
"""

import lazy_loader

_NAMES = {
    "ratings": [
        "Compared",
        "Friedman",
        "Power",
        "Rated",
        "Screening",
        "compare",
        "friedman",
        "listener_means",
        "of_question",
        "power_note",
        "power_table",
        "screen",
        "summarize",
    ],
    "choices": [
        "Choices",
        "ListenerChoices",
        "abx_d_prime",
        "abx_share_correct",
        "afc_d_prime",
        "answers_note",
        "by_listener",
        "count_choices",
        "least_correct",
        "pooled",
    ],
    "agreement": [
        "RankAgreement",
        "concordance",
        "excerpt_scores",
        "rank_agreement",
        "replicate_agreement",
    ],
    "tables": [
        "FORMATS",
        "choice_note",
        "choice_table",
        "pair_note",
        "pair_table",
        "rating_table",
        "screening_table",
    ],
    "report": ["ratings_figure", "report_files", "write_report"],
    "export": ["merge_file", "ratings_frame", "read_json", "write_csv", "write_json"],
    "simulate": ["Panel", "draw_ratings", "sit_through"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
