"""Scores of an estimate, each by its exact definition.

ratios     usdr, csdr, si_sdr and similar ratios
spectral   scores of spectrograms: log_wmse, mrstft, bleedless, fullness
bss        BSS Eval v4
bleed      how much of each source is in each estimate
table      METRICS: every score by name, with unit and definition
pairs      the check of reference and estimate, and a least-squares fit
"""

import lazy_loader

_NAMES = {
    "ratios": [
        "csdr",
        "nsdr",
        "pes",
        "si_sar",
        "si_sdr",
        "si_sir",
        "si_sir_and_sar",
        "snr",
        "usdr",
    ],
    "spectral": ["bleedless", "fullness", "hearing_weight", "log_wmse", "mrstft"],
    "bss": ["BSSEval", "bss_eval", "bss_eval_images", "bss_eval_sources"],
    "bleed": ["Bleed", "bleed_matrix", "find_bleed"],
    "table": ["METRICS", "Metric", "Sounds", "score"],
    "pairs": ["check_pair", "fit_sources"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
