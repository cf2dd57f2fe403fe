"""A listening test, in the order in which it is made and taken.

design     a test as a value and as test.toml: method, systems, anchors, questions
names      names and texts that a test can have
create     a folder with the excerpts and test.toml
stimuli    the sounds of a trial, at one level
anchors    versions that are degraded on purpose
schedule   the pages of each listener, and their order
session    one listener in the test, and its rules
store      the answers, on disk before the page reacts
messages   the form of what a page may send
pages      what a page shows and sends, and its HTML
notebook, server, offline    three ways to take a test
replay     whether answers from elsewhere are those that a listener can have given
merge      results from elsewhere, of which the impossible ones are left out
"""

import lazy_loader

_NAMES = {
    "design": [
        "ANCHORS",
        "CHOICES",
        "QUESTIONS",
        "TESTS",
        "Design",
        "Excerpts",
        "Trial",
        "load_design",
        "save_design",
    ],
    "create": ["create_test", "loudest_start"],
    "stimuli": ["Stimuli", "check_files", "load_excerpts", "load_stimuli"],
    "anchors": ["lowpass", "make_anchor"],
    "schedule": ["Page", "chosen_trials", "pairs", "plan"],
    "session": ["Session"],
    "store": ["ResultStore"],
    "notebook": ["ListeningTest", "RatingPage"],
    "server": ["Server"],
    "offline": ["write_test_page"],
    "merge": ["Merged", "impossible", "merge_page", "merge_results"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
