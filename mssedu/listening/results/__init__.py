"""What the ratings of a listening test say.

ratings     means, intervals, Friedman's test, pairs, power
choices     ABX and 2AFC: counts, d', least correct
screening   which listeners cannot be relied on
agreement   do metrics rank the systems as listeners do?
tables      all of it as tables
report      an HTML page with figures and LaTeX
export      CSV and JSON
simulate    a panel of simulated listeners
"""

import lazy_loader

_NAMES = {
    "ratings": [
        "Rated",
        "compare",
        "friedman",
        "listener_means",
        "power_note",
        "power_table",
        "summarize",
    ],
    "choices": [
        "abx_d_prime",
        "abx_share_correct",
        "afc_d_prime",
        "by_listener",
        "count_choices",
        "least_correct",
        "pooled",
    ],
    "screening": ["Screening", "screen"],
    "agreement": [
        "concordance",
        "excerpt_scores",
        "rank_agreement",
        "replicate_agreement",
    ],
    "tables": ["pair_note", "pair_table", "rating_table"],
    "report": ["ratings_figure", "write_report"],
    "export": ["ratings_frame", "read_json", "write_csv", "write_json"],
    "simulate": ["Panel", "draw_ratings", "sit_through"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
