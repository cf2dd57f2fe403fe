"""The command `mssedu`: one file per command.

commands   every command by name, `main`, and the command lab
separate   songs in, stems out
train      train a model, or resume a run
evaluate   scores of a model or of stems on disk; compare and published scores
analyze    when and where a model's errors are
listen     create, serve, report and export a listening test
card       models and model cards
demo       train on four songs, separate a new one, write a report
doctor     checks of the machine
console    what commands print: lines, failures, progress
"""

import lazy_loader

_NAMES = {
    "commands": ["COMMANDS", "main"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
