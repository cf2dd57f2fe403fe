"""Scores of an estimate, each by its exact definition.

ratios     usdr, csdr, si_sdr and their kin
spectral   scores of spectrograms: log_wmse, mrstft, bleedless, fullness
bss        BSS Eval v4
bleed      which stem leaks into which estimate
table      METRICS: every score by name, unit and definition
"""

import lazy_loader

_NAMES = {
    "ratios": ["csdr", "nsdr", "pes", "si_sar", "si_sdr", "si_sir", "snr", "usdr"],
    "spectral": ["bleedless", "fullness", "hearing_weight", "log_wmse", "mrstft"],
    "bss": ["BSSEval", "bss_eval", "bss_eval_images", "bss_eval_sources"],
    "bleed": ["Bleed", "bleed_matrix", "find_bleed"],
    "table": ["METRICS", "Metric", "Sounds", "score"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
