"""The rating page in Chromium, with a stand-in for Python that notes what is said."""

import base64
import json

import pytest
import torch

from mssedu.listening.test.notebook import RatingPage
from mssedu.listening.widgets.sounds import encode

pytestmark = pytest.mark.slow

RATE, SECONDS = 8000, 2
# What anywidget gives a page: traits, messages, and their listeners
HARNESS = """
const { module, css, traits, sounds } = CONFIG;
const style = document.createElement("style");
style.textContent = css;
document.head.append(style);
const listeners = {};
const model = {
  get: (name) => traits[name],
  set: (name, value) => (traits[name] = value),
  save_changes() {},
  on: (name, f) => (listeners[name] ??= new Set()).add(f),
  off: (name, f) => listeners[name]?.delete(f),
  send: (content) => window.said.push(content),
};
window.said = [];
window.tell = (state) => {
  traits._state = state;
  for (const f of listeners["change:_state"]) f();
};
const url = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
const widget = (await import(url)).default();
widget.initialize({ model });
const el = document.body.appendChild(document.createElement("div"));
widget.render({ model, el });
const bytes = sounds.map((s) => {
  const raw = Uint8Array.from(atob(s), (c) => c.charCodeAt(0));
  return new DataView(raw.buffer);
});
const names = sounds.map((_, i) => String(i));
const content = { kind: "data", names, scales: names.map(() => 1) };
for (const f of listeners["msg:custom"]) f(content, bytes);
"""
LABELS = {"mushra": ["Reference", "A", "B"], "acr": ["A"], "choice": ["A", "B", "X"]}


def state(**changes):
    said = {"missing": [], "unheard": [], "scores": {}, "choice": "", "error": ""}
    return {**said, **changes}


@pytest.fixture
def open_page(browser):
    opened = []

    def open_page(kind, **said):
        clock = torch.arange(RATE * SECONDS) / RATE
        names = LABELS[kind]
        tones = [
            0.3 * torch.sin(6.28 * 200 * (i + 1) * clock) for i in range(len(names))
        ]
        sounds = [base64.b64encode(encode(t[None])[0]).decode() for t in tones]
        shape = {"sample_rate": RATE, "channels": 1, "samples": RATE * SECONDS}
        page = {
            "title": "A test",
            "progress": "Page 1 of 2",
            "training": False,
            "kind": kind,
            "questions": {"quality": "How good?"},
            "labels": [name for name in names if name in "AB"],
            "start": 0,
            "words": ["Bad", "Poor", "Fair", "Good", "Excellent"],
        }
        traits = {
            "_names": names,
            "_shape": shape,
            "_page": page,
            "_state": state(**said),
        }
        config = {
            "module": RatingPage._esm,
            "css": RatingPage._css,
            "traits": traits,
            "sounds": sounds,
        }
        config = {
            k: v if isinstance(v, dict | list) else str(v) for k, v in config.items()
        }
        view = browser.new_page(viewport={"width": 900, "height": 700})
        opened.append(view)
        view.problems = []
        view.on("pageerror", lambda error: view.problems.append(str(error)))
        text = json.dumps(config).replace("</", "<\\/")
        script = f"const CONFIG = {text};{HARNESS}"
        view.set_content(
            f"<!doctype html><body><script type=module>{script}</script></body>"
        )
        view.get_by_role("button", name="Play").wait_for()
        return view

    yield open_page
    for view in opened:
        assert view.problems == []
        view.close()


def said(page, kind):
    return [m for m in page.evaluate("window.said") if m["kind"] == kind]


def wait_for_words(page, kind, n=1):
    script = "([kind, n]) => window.said.filter((m) => m.kind === kind).length >= n"
    page.wait_for_function(script, arg=[kind, n])
    return said(page, kind)


def test_listening_is_told_label_by_label(open_page):
    page = open_page(
        "mushra", unheard=["Reference", "A", "B"], missing=["Listen to A."]
    )
    slider = page.get_by_role("slider", name="A, quality")
    assert slider.is_disabled()
    assert page.get_by_role("button", name="Next").is_disabled()
    page.get_by_role("button", name="Play").click()
    wait_for_words(page, "heard", 2)
    page.keyboard.press("2")
    page.wait_for_function("window.said.some((m) => m.label === 'A')")
    page.keyboard.press("Space")
    words = said(page, "heard")
    assert [m["label"] for m in words][:2] == ["Reference", "Reference"]
    assert [m["begun"] for m in words if m["label"] == "Reference"][:2] == [True, False]
    assert next(m["begun"] for m in words if m["label"] == "A")
    assert all(0 < m["seconds"] < 2 for m in words)
    page.evaluate("(s) => window.tell(s)", state(missing=["Rate A."]))
    assert slider.is_enabled()
    assert page.get_by_text("Rate A.").is_visible()


CONTEXT = "globalThis[Symbol.for('mssedu.listening')].playing.context"


@pytest.mark.parametrize("how", ["volume", "context"])
def test_what_nobody_can_hear_does_not_count(open_page, how):
    page = open_page("mushra")
    volume = page.get_by_role("slider", name="Volume")
    page.get_by_role("button", name="Play").click()
    wait_for_words(page, "heard", 1)
    if how == "volume":
        volume.fill("0")
        page.get_by_text("The volume is 0.").wait_for()
    else:  # as a phone call does
        page.evaluate(f"{CONTEXT}.suspend()")
        page.get_by_text("press Pause, then Play").wait_for()
    page.wait_for_timeout(300)
    before = said(page, "heard")
    page.wait_for_timeout(1500)
    after = said(page, "heard")
    assert len(after) <= len(before) + 1  # what was heard before
    if how == "volume":
        volume.fill("0.5")
    else:
        for name in ("Pause", "Play"):
            page.get_by_role("button", name=name).click()
    wait_for_words(page, "heard", len(after) + 2)
    page.keyboard.press("Space")
    seconds = sum(m["seconds"] for m in said(page, "heard"))
    assert seconds < page.evaluate("performance.now() / 1000") - 1.5


def test_ratings_by_keyboard_alone(open_page):
    page = open_page("mushra")
    page.get_by_role("slider", name="A, quality").focus()
    page.keyboard.press("Home")  # where it waits already: said on purpose
    assert wait_for_words(page, "rate")[-1]["score"] == 0
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "window.said.some((m) => m.kind === 'rate' && m.score === 3)"
    )
    assert [m["score"] for m in said(page, "rate")] == [0, 1, 2, 3]  # each once
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    words = wait_for_words(page, "rate")
    assert words[-1] == {
        "kind": "rate",
        "label": "B",
        "score": 100,
        "question": "quality",
    }
    heard = page.get_by_role("radiogroup", name="What is heard")
    assert heard.get_by_role("radio", checked=True).text_content() == "3B"
    page.get_by_role("button", name="Next").press("Enter")
    assert wait_for_words(page, "next") == [{"kind": "next"}]


def test_what_was_said_before_is_shown_again(open_page):
    page = open_page("mushra", scores={"quality": {"A": 42}})
    assert page.get_by_role("slider", name="A, quality").input_value() == "42"
    assert page.get_by_role("slider", name="B, quality").input_value() == "0"
    assert page.locator(".ms-ratings output").all_text_contents() == ["42", "–"]


def test_numbers(open_page):
    page = open_page("acr")
    page.get_by_role("radio", name="4 Good").click()
    words = wait_for_words(page, "rate")
    assert words == [{"kind": "rate", "label": "A", "score": 4, "question": "quality"}]
    page.evaluate("(s) => window.tell(s)", state(scores={"quality": {"A": 4}}))
    assert page.get_by_role("radio", name="4 Good").is_checked()


def test_a_choice(open_page):
    page = open_page("choice", unheard=["X"])
    group = page.get_by_role("radiogroup", name="How good?")
    assert group.get_by_role("radio", name="B").is_disabled()
    page.evaluate("(s) => window.tell(s)", state())
    group.get_by_role("radio", name="B").click()
    assert wait_for_words(page, "choose") == [{"kind": "choose", "label": "B"}]


def test_arrow_keys_move_among_the_answers_and_do_not_answer(open_page):
    page = open_page("acr")
    page.get_by_role("slider", name="Position").focus()
    for key in ("Tab", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    page.locator("button:focus").get_by_text("2 Poor").wait_for()
    assert said(page, "rate") == []
    page.keyboard.press("Space")
    assert wait_for_words(page, "rate")[0]["score"] == 2
    page.evaluate("(s) => window.tell(s)", state(scores={"quality": {"A": 2}}))
    page.keyboard.press("Tab")  # the group is one stop
    assert page.get_by_role("textbox", name="Remarks").evaluate(
        "(remarks) => remarks === document.activeElement"
    )


def test_remarks_are_no_commands(open_page):
    page = open_page("mushra")
    remarks = page.get_by_role("textbox", name="Remarks")
    remarks.fill("")
    remarks.press_sequentially("l 2 loud")
    remarks.blur()
    assert wait_for_words(page, "comment")[0]["text"] == "l 2 loud"
    assert (
        page.get_by_role("button", name="Loop").get_attribute("aria-pressed") == "true"
    )
    assert said(page, "heard") == []
