"""The command `mssedu`: one file per command.

commands   every command by name, and `main`
console    what commands print, and how
"""

import lazy_loader

_NAMES = {
    "commands": ["main"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
