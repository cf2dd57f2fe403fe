"""mssedu: a workbook for music source separation.

A mixture's journey from file to score, one folder each:

    audio → data → spectral → models → training → separation
          → metrics → evaluation → reports

Names are loaded on first use, so that ``import mssedu as ms`` costs nothing and
``mssedu --help`` starts at once.
"""

import lazy_loader

__version__ = "0.1.0"

# folder or file: the names that stand here as well
_NAMES = {
    "errors": [],
    "audio": [],
    "data": ["load_dataset", "load_track"],
    "spectral": [],
    "masks": [],
    "models": ["create_model", "list_models"],
    "inspect": ["look_inside"],
    "weights": ["load_model"],
    "training": ["fit"],
    "separation": ["separate", "separate_file"],
    "metrics": [],
    "evaluation": ["evaluate"],
    "figures": [],
    "reports": [],
    "listening": [],
    "course": [],
    "cli": [],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
