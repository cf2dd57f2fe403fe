"""A listening test, in the order in which it is made and taken.

design     what is asked: method, systems, anchors, questions
create     a folder with the excerpts and test.toml
stimuli    the sounds of a test
anchors    versions that are made worse on purpose
schedule   who hears what, in which order
session    one listener on the way through the test
store      every answer on disk before the page goes on
notebook, server, offline    three ways to take it
"""

import lazy_loader

_NAMES = {
    "design": [
        "ANCHORS",
        "CHOICES",
        "QUESTIONS",
        "TESTS",
        "Design",
        "Trial",
        "load_design",
        "save_design",
    ],
    "create": ["create_test", "loudest_start"],
    "excerpts": ["Excerpts"],
    "stimuli": ["Stimuli", "load_excerpts", "load_stimuli"],
    "anchors": ["lowpass", "make_anchor"],
    "schedule": ["chosen_trials", "pairs", "plan"],
    "session": ["Session"],
    "store": ["ResultStore"],
    "notebook": ["ListeningTest", "RatingPage"],
    "server": ["Server"],
    "offline": ["write_test_page"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
