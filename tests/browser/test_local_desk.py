"""The rules of the page that needs no Python are those of a session."""

import json
import random

import pytest

from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.offline import merge_answers, page_data
from mssedu.listening.test.pages import perform, view
from mssedu.listening.test.session import Session
from mssedu.listening.test.stimuli import Stimuli
from mssedu.listening.test.store import ResultStore
from mssedu.listening.widgets.base import joined

pytestmark = pytest.mark.slow

TRIALS = tuple(
    Trial(f"song {i}", {"a": "a.wav", "b": "b.wav"}, "r.wav", "m.wav") for i in range(3)
)
ASKED = {"questionnaire": {"age": ("young", "old"), "gear": ()}, "consent": "Agree?"}
TESTS = {
    "mushra": {"training": ("song 0",), "trials_per_listener": 2},
    "acr": {"reference": False},
    "abx": {},
    "2afc": {"reference": True, "training": ("song 1",), "n_repetitions": 2},
}
SCRIPT = """
const kept = new Map();
const getItem = (key) => kept.get(key) ?? null;
const storage = { getItem, setItem: (key, value) => kept.set(key, value) };
globalThis.desk = new LocalDesk(TEST, storage);
Math.random = () => 0; // the first listener's pages
globalThis.view = desk.begin(null);
globalThis.say = async (words) => {
  const answer = await desk.tell(view, words, () => {});
  view = answer.view ?? { ...view, state: answer.state };
  return view;
};
"""


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    yield page
    page.close()


@pytest.fixture(params=TESTS)
def store(request, monkeypatch):
    """A test without any sound."""
    monkeypatch.setattr(
        "mssedu.listening.test.offline.load_stimuli", lambda *_: Stimuli({}, 44100, {})
    )
    settings = ASKED | TESTS[request.param]
    with ResultStore(":memory:", Design("?", request.param, TRIALS, **settings)) as s:
        yield s


def something(shown, draw):
    """Words that a page could say there, often too early."""
    kind = shown["kind"]
    if kind == "consent":
        yes = {"kind": "answer", "answers": {"consent": "yes"}}
        return draw.choice([yes, {"kind": "next"}])
    if kind == "questionnaire":
        given = draw.choice([{}, {"age": "old"}, {"age": "young", "gear": "good"}])
        return draw.choice([{"kind": "answer", "answers": given}, {"kind": "next"}])
    played = {"label": draw.choice(shown["sounds"]), "seconds": draw.choice([0.4, 2.0])}
    heard = {"kind": "heard", **played, "begun": draw.random() < 0.5}
    words = [heard, heard, {"kind": "comment", "text": f"{draw.random()}"}]
    label = draw.choice(shown["page"]["labels"])
    if shown["page"]["kind"] == "choice":
        words += [{"kind": "choose", "label": label}]
    else:
        question = draw.choice([*shown["page"]["questions"]])
        said = {"label": label, "question": question, "score": draw.randint(1, 5)}
        words += 2 * [{"kind": "rate", **said}]
    if not shown["state"]["missing"] or draw.random() < 0.1:
        words += 2 * [{"kind": "next"}]
    return draw.choice(words)


def told(shown):
    """What can be compared: no code, no wording of a refusal."""
    known = {k: v for k, v in shown.items() if k not in ("listener", "state")}
    state = shown.get("state") if shown["kind"] not in ("end", "refused") else None
    return known | ({**state, "error": bool(state["error"])} if state else {})


@pytest.mark.parametrize("seed", range(3))
def test_both_say_the_same_to_the_same_words(page, store, seed):
    page.goto("about:blank")
    data = json.dumps(page_data(store, 1))
    module = f"const TEST = {data};\n{joined('local.js')}\n{SCRIPT}"
    page.add_script_tag(content=module, type="module")
    page.wait_for_function("typeof say === 'function'")
    session, draw = Session(store), random.Random(seed)
    ours, theirs = view(session), page.evaluate("view")
    for _ in range(2000):
        assert json.loads(json.dumps(told(ours))) == told(theirs)
        if ours["kind"] == "end":
            break
        words = something(ours, draw)
        wrong = perform(session, words)
        ours, theirs = view(session), page.evaluate("(w) => say(w)", words)
        ours["state"]["error"] = wrong
    assert ours["kind"] == "end"
    result = page.evaluate("desk.result")
    (listener,) = merge_answers(store, result)
    for table in ("pages", "heard", "ratings", "answers"):
        mine, others = (
            sorted(repr(comparable(row)) for row in store.rows(table, name))
            for name in (session.listener, listener)
        )
        assert mine == others, table


def comparable(row):
    """A row without what two ways through a test cannot share: who, and when."""
    left_out = ("listener", "rated", "finished")
    row = {name: value for name, value in row.items() if name not in left_out}
    if "comment" in row:
        row.pop("seconds")
    return row
