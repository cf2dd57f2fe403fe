"""The course: exercises, and what a notebook needs.

notebook     `setup`, `play`, `show_source`
claims       `claim` and `reveal`: numbers beside bounds and predictions
exercises/   every exercise: question, starter, check, hints, solution
build        write the notebooks from their texts: python -m mssedu.course.build 03
handout      folders for a class: for students, and for the teacher with solutions
grading      run what students handed in (answers: one notebook), and give points
pages        pages and slides that work offline
progress     which exercises were solved on this computer
"""

import lazy_loader

_NAMES = {
    "notebook": ["play", "profile", "setup", "show_source"],
    "claims": ["claim", "reveal"],
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
