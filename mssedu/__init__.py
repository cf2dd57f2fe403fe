"""mssedu: a workbook for music source separation.

The public names are loaded on first use, so that ``import mssedu`` costs nothing and
``mssedu --help`` starts at once. A mixture's journey from file to score, one file each:
audio → datasets → spectral → masks → models → separate → metrics → evaluate.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

# public function -> the module that defines it
_FUNCTIONS = {
    "create_model": "mssedu.models.registry",
    "evaluate": "mssedu.evaluate",
    "list_models": "mssedu.models.registry",
    "load_dataset": "mssedu.data.layouts",
    "load_model": "mssedu.weights.loading",
    "load_track": "mssedu.data.layouts",
    "look_inside": "mssedu.inspect.inside",
    "separate": "mssedu.separate",
    "separate_file": "mssedu.separation.files",
}
_MODULES = {
    *("audio", "augment", "blocks", "checkpoint", "checks", "datasets", "doctor"),
    *("exercises", "figures", "losses", "masks", "metrics", "models", "notebook"),
    *("bag", "bss_eval", "complexity", "listening", "pretrained", "registry"),
    *("spectral", "train"),
}

__all__ = [
    *("audio", "augment", "bag", "blocks", "bss_eval", "checkpoint", "checks"),
    *("complexity", "create_model", "datasets", "doctor", "evaluate", "exercises"),
    *("figures", "list_models", "listening", "load_dataset", "load_model"),
    *("load_track", "look_inside", "losses", "masks", "metrics", "models"),
    *("notebook", "pretrained", "registry", "separate", "separate_file"),
    *("spectral", "train"),
]


class _Package(ModuleType):
    """Keeps `mssedu.separate` and `mssedu.evaluate` the functions, not their files.

    Importing the file `mssedu/separate.py` would otherwise put the module of that name
    over the function of that name.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FUNCTIONS and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"mssedu.{name}")
    raise AttributeError(f"module 'mssedu' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
