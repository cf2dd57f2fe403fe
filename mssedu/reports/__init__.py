"""HTML pages and tables.

tables   a DataFrame as text, Markdown or LaTeX
page     the skeleton of every HTML page
demo     the page of `mssedu demo`
errors   the page of `mssedu analyze`
ablation the table and the figure of `mssedu ablate`
study    the report of a claim: rules, methods, verdict, checklist
races    the table of `mssedu race`
"""

import lazy_loader

_NAMES = {
    "tables": ["note", "render", "texts"],
    "page": ["Players", "facts_table", "html_table", "picture", "write_page"],
    "demo": ["Page", "write_report"],
    "errors": ["write_analysis"],
    "ablation": ["VariantResult", "ablation_table", "read_results", "write_ablation"],
    "study": [
        "differences_figure",
        "methods_text",
        "seeds_sentence",
        "store_study",
        "study_sentence",
        "study_table",
        "variance_table",
        "variant_difference",
        "write_study",
    ],
    "races": ["RaceRow", "race_table", "read_races", "write_results"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
