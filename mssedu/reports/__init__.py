"""HTML pages and tables.

tables   a DataFrame as text, Markdown or LaTeX
page     the skeleton of every HTML page
demo     the page of `mssedu demo`
errors   the page of `mssedu analyze`
"""

import lazy_loader

_NAMES = {
    "tables": ["note", "render"],
    "page": ["facts_table", "html_table", "write_page"],
    "demo": ["write_report"],
    "errors": ["write_analysis"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
