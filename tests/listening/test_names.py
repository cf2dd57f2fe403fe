"""Names and texts from outside: refused before any work, or good for all."""

import copy
import json
import math
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssedu.audio.names import file_names
from mssedu.errors import InputError, MssEduError
from mssedu.listening.results.export import content_sha256, merge_file, write_json
from mssedu.listening.results.simulate import sit_through
from mssedu.listening.test.design import (
    Design,
    Trial,
    design_from,
    load_design,
    save_design,
)
from mssedu.listening.test.merge import merge_answers
from mssedu.listening.test.names import alike, check_names, check_text, shown
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore
from tests.listening.test_merge import PAGE_DESIGN, page_file
from tests.listening.test_merge import QUALITY as MERGED

PAIR = {"a": "a.wav", "b": "b.wav"}
TRIAL = Trial("song", PAIR, "r.wav")
QUALITY = {"a": 40, "b": 60, "reference": 100, "anchor35": 10, "anchor70": 30}
GOOD = ("clean/natural", "../../x", "..", "人声", "größer als 5 %", "a:b", "CON", "1")
BAD = {
    "": "empty",
    " \t": "control|empty",
    "\u200b": "empty",
    "a\0b": r"U\+0000",
    "a\nb": r"U\+000A",
    "\x7f": r"U\+007F",
    "a\u2028b": r"U\+2028",
    "\ud800": r"U\+D800",
    "x" * 101: "101 characters",
    "x" * 10**6: "1000000 characters",
    "__proto__": "JavaScript",
    "constructor": "JavaScript",
    "prototype": "JavaScript",
    "toString": "JavaScript",
    "hasOwnProperty": "JavaScript",
}
TWINS = [
    ("Vocals", "vocals"),
    ("é", "e\u0301"),
    ("STRASSE", "straße"),
    ("ours", " ours"),
    ("a b", "a\u00a0b"),
    ("ｖ1", "v1"),
]


def named(place, *names):
    """A design that has names in a place."""
    question = dict.fromkeys(names, "?")
    asked = dict.fromkeys(names, ())
    if place == "question":
        return Design("?", "mushra", (TRIAL,), questions=question)
    if place == "questionnaire":
        return Design("?", "mushra", (TRIAL,), questionnaire=asked)
    if place == "trial":
        trials = tuple(Trial(name, PAIR, "r.wav") for name in names)
        return Design("?", "mushra", trials)
    systems = dict.fromkeys(names, "a.wav")
    return Design("?", "mushra", (Trial("song", systems, "r.wav"),))


PLACES = ("question", "questionnaire", "trial", "system")


@pytest.mark.parametrize("place", PLACES)
def test_a_name_that_people_read_is_allowed(place, tmp_path):
    design = named(place, *GOOD) if place != "system" else named(place, *GOOD[:6])
    save_design(tmp_path / "test.toml", design)
    assert load_design(tmp_path) == design
    files = file_names(GOOD).values()
    assert not {*".", "..", ""} & {*files}
    assert not any("/" in name or "\\" in name for name in files)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", BAD, ids=range(len(BAD)))
def test_a_name_that_cannot_work_is_refused(place, name):
    with pytest.raises(InputError, match=BAD[name]) as caught:
        named(place, "good", name)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("names", TWINS)
def test_names_that_look_alike_are_refused(place, names):
    assert alike(names[0]) == alike(names[1])
    with pytest.raises(InputError, match="must differ by more than"):
        named(place, *names)


def test_the_consent_has_its_own_name():
    with pytest.raises(InputError, match="questionnaire asks 'consent'"):
        named("questionnaire", "consent")


@pytest.mark.parametrize("name", ["Ｒeference", "MIXTURE", "anchor35 "])
def test_no_system_looks_like_a_stimulus_of_the_test(name):
    with pytest.raises(InputError, match="systems must have others"):
        named("system", "ours", name)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"title": "a\0"}, r"title has the control character U\+0000"),
        ({"title": "x" * 30_000}, "title has 30000 characters"),
        ({"consent": "\x1b[31m"}, r"consent has .* U\+001B"),
        ({"questions": {"q": "\x07"}}, r"text of the question 'q' has .* U\+0007"),
        ({"questionnaire": {"age": ("",)}}, "answer to 'age'.* empty"),
        ({"questionnaire": {"age": ("x" * 101,)}}, "101 characters"),
        ({"trials": (Trial("t", {**PAIR, "b": "b\0.wav"}, "r.wav"),)}, r"U\+0000"),
        ({"trials": (Trial("t", PAIR, "r.wav", start_seconds=-1),)}, "start_seconds"),
        ({"trials": (Trial("t", PAIR, "r.wav", start_seconds=math.inf),)}, "start_sec"),
        ({"trials": (Trial("t", PAIR, "r", None, 0.0, 0.0),)}, "duration_seconds"),
        ({"n_repetitions": 10**9}, "n_repetitions must be from 1 to 1000"),
        ({"n_replicates": 10**9}, "n_replicates must be from 0 to 1000"),
        ({"least_heard_seconds": math.inf}, "least_heard_seconds"),
    ],
)
def test_texts_and_numbers_that_no_page_can_show(changes, says):
    parts = {"title": "?", "test": "mushra", "trials": (TRIAL,)}
    with pytest.raises(InputError, match=says):
        Design(**(parts | changes))


def test_a_text_may_have_lines():
    check_text("the consent", "line 1\nline 2\tand more")
    with pytest.raises(InputError, match="must be a text, got 3"):
        check_text("the title", 3)
    with pytest.raises(InputError, match="differ"):
        check_names("question", ["a", "A"])
    check_names("answer", ["a", "A"], unique=False)


def test_a_value_is_quoted_in_short():
    for value in ("x" * 10**6, ["x"] * 10**6, {n: n for n in range(10**4)}, 1 << 20000):
        assert len(shown(value)) < 200


WRONG = [3, True, None, [], {}, "2", 1.5, 2**70, math.nan]
OF_TYPES = {
    "title": ("2",),
    "seed": (3,),
    "reference": (True,),
    "consent": ("2",),
    "questions": ({},),
    "training": ([],),
    "trials": ([],),
}


@pytest.mark.parametrize("name", OF_TYPES)
def test_a_value_of_another_type_is_refused(name):
    document = Design("?", "mushra", (TRIAL,)).as_json()
    wrong = [value for value in WRONG if repr(value) not in map(repr, OF_TYPES[name])]
    for value in wrong:
        with pytest.raises(InputError, match=f"the text: {name} must be"):
            design_from({**document, name: value}, "the text", Path())


def test_a_test_with_answers_keeps_its_names(tmp_path):
    """An older version has allowed them, and the results are keyed by them."""
    old = Design("?", "mushra", (TRIAL,), questions={"constructor": "?"}, begun=True)
    save_design(tmp_path / "test.toml", old)
    with pytest.raises(InputError, match="JavaScript"):
        load_design(tmp_path)
    with ResultStore(tmp_path / "results.sqlite", old) as store:
        sit_through(Session(store), QUALITY)
    design = load_design(tmp_path)
    assert design == old
    with ResultStore(tmp_path / "results.sqlite", design) as store:
        assert len(store.rows("ratings")) > 0
    (tmp_path / "test.toml").write_text('title = "?"\nseed = "x"')
    with pytest.raises(MssEduError, match=r"test\.toml"):
        load_design(tmp_path)


# ---- random documents ---------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 0, 2**63, math.inf, math.nan, 1e308])
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["__proto__", "../x", "\0", "=1+1", "<b>", "x" * 10**4, "\ud800"]
    ),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(document, path=()):
    """Paths to all values in a document."""
    found = [path] if path else []
    if isinstance(document, dict | list):
        keys = document if isinstance(document, dict) else range(len(document))
        for key in keys:
            found += places(document[key], (*path, key))
    return found


@st.composite
def mutated(draw, document):
    """A document with one to three values changed, removed or added."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(document)))
        inner = document
        for key in way:
            inner = inner[key]
        action = draw(st.sampled_from(["change", "remove", "add"]))
        if action == "remove" and len(document) > 1:
            del inner[last]
        elif action == "add" and isinstance(inner, dict):
            inner[draw(st.text(max_size=9))] = draw(VALUES)
        else:
            inner[last] = draw(VALUES)
    return document


FAST = settings(
    max_examples=150, deadline=None, suppress_health_check=[*HealthCheck], database=None
)
FULL = Design(
    "?",
    "mushra",
    (TRIAL, Trial("two", PAIR, "r.wav", "m.wav", 1.0, 2.0)),
    questionnaire={"age": ("1", "2")},
    training=("two",),
).as_json()


@FAST
@given(mutated(FULL))
def test_a_random_design_is_refused_or_good(document):
    with suppress(MssEduError):
        design = design_from(document, "the text", Path())
        with ResultStore(":memory:", design) as store:
            assert store.pages(store.add_listener())


@FAST
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.data())
def test_a_random_file_is_no_test(tmp_path_factory, noise, data):
    file = tmp_path_factory.mktemp("x") / "test.toml"
    save_design(file, Design("?", "mushra", (TRIAL,)))
    text = file.read_bytes()
    place = data.draw(st.integers(0, len(text)))
    file.write_bytes(text[:place] + noise + text[place:])
    with suppress(MssEduError):
        assert load_design(file).trials


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 5000, f"seed = {'9' * 5000}", f"seed = 0x{'f' * 9000}"]
)
def test_a_file_that_is_too_deep_or_too_large(tmp_path, text):
    file = tmp_path / "test.toml"
    file.write_text(text)
    with pytest.raises(MssEduError, match=r"test\.toml"):
        load_design(file)


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """The document of a results file with one listener, and its path."""
    path = tmp_path_factory.mktemp("results") / "results.json"
    with ResultStore(":memory:", PAGE_DESIGN) as store:
        sit_through(Session(store), MERGED, n_pages=3)
        return json.loads(write_json(store, path).read_text("utf-8")), path


@FAST
@given(st.data())
def test_random_results_are_refused_or_good(document, data):
    content, path = document
    changed = data.draw(mutated(content))
    if "format" in changed:
        changed["sha256"] = content_sha256(changed)
    path = path.with_name("changed.json")
    path.write_text(json.dumps(changed))
    with ResultStore(":memory:", PAGE_DESIGN) as store:
        added = ()
        with suppress(MssEduError):
            added = merge_file(path, store).added
        assert store.listeners() == [*added]
        write_json(store, path)  # it can be written, so all numbers are finite


@FAST
@given(mutated(page_file()))
def test_random_page_files_are_refused_or_good(content):
    with ResultStore(":memory:", PAGE_DESIGN) as store:
        added = []
        with suppress(MssEduError, KeyError):  # KeyError: no "sha256", no such file
            added = merge_answers(store, content)
        assert store.listeners() == added
        json.dumps(store.tables(("pages", "heard", "ratings")), allow_nan=False)
