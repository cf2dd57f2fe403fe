"""The course: exercises, and what a notebook needs.

notebook     `setup`, `play`, `show_source`
exercises/   every exercise: question, starter, check, hints, solution
build        write the notebooks from their texts: python -m mssedu.course.build 03
"""

import lazy_loader

_NAMES = {
    "notebook": ["play", "profile", "setup", "show_source"],
    "exercises": [
        "Exercise",
        "Outcome",
        "Page",
        "Status",
        "exercise",
        "list_exercises",
    ],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
