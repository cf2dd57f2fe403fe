"""A listener in JupyterLab, from consent to thanks, through a reload and a dead kernel.

One server, one notebook and one page for all tests of this file, in their order.
"""

import os
import signal

import pytest

from mssedu.listening.results.export import ratings_frame
from mssedu.listening.test.create import RESULTS
from mssedu.listening.test.design import Design, Trial, load_design, save_design
from mssedu.listening.test.store import ResultStore
from tests.browser.lab import (
    heard,
    jupyterlab,
    open_notebook,
    playing,
    run_all,
    wait_for,
    wait_until_idle,
)
from tests.listening.noise import write_noise

pytestmark = pytest.mark.slow

RATE = 44100
CELLS = (
    """
import os
from pathlib import Path
from mssedu.listening import ListeningTest
Path("pid").write_text(str(os.getpid()))
code = Path("code")
""",
    """
test = ListeningTest("test", listener=code.read_text() if code.exists() else None)
code.write_text(test.session.listener)
test
""",
)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a test in it: two songs of two seconds, noise in all versions."""
    work = tmp_path_factory.mktemp("lab")
    folder = work / "test"
    folder.mkdir()
    names = [f"{name}{song}" for song in "12" for name in "abr"]
    write_noise(folder, names, RATE, channels=2, seconds=2)
    trials = tuple(
        Trial(f"song {i}", {"a": f"a{i}.wav", "b": f"b{i}.wav"}, f"r{i}.wav")
        for i in "12"
    )
    settings = {"consent": "May we keep your answers?", "n_replicates": 0}
    settings |= {"questionnaire": {"headphones": ("yes", "no")}}
    settings |= {"anchors": ("anchor35",), "least_heard_seconds": 0.3}
    save_design(folder / "test.toml", Design("Ears", "mushra", trials, **settings))
    return work


@pytest.fixture(scope="module")
def page(browser, work):
    with jupyterlab(work) as address:
        shown = "button:has-text('I agree')"
        page = open_notebook(browser, address, work / "nb.ipynb", CELLS, shown)
        yield page
        page.close()


def rows(work, table):
    with ResultStore(work / "test" / RESULTS, load_design(work / "test")) as store:
        return store.rows(table)


def slider(page, label):
    return page.get_by_role("slider", name=f"{label}, quality")


def hear_all(page):
    """By keys alone, from the play button on."""
    page.get_by_role("button", name="Play").focus()
    page.keyboard.press("Space")
    for key in "12345":
        page.keyboard.press(key)
        page.wait_for_timeout(600)
    wait_for(lambda: page.locator(".ms-rate:disabled").count() == 0)


def rate(page, label, times):
    for _ in range(times):
        slider(page, label).press("PageUp")  # JupyterLab may take the focus after a run


def test_consent_and_questions_come_first(page, work):
    page.get_by_text("May we keep your answers?").wait_for()
    page.get_by_role("button", name="I agree").click()
    page.get_by_role("radio", name="yes").check()
    page.get_by_role("button", name="Next").click()
    page.get_by_text("Page 3 of 4").wait_for()
    given = {row["name"]: row["answer"] for row in rows(work, "answers")}
    assert given == {"consent": "yes", "headphones": "yes"}


def test_it_sounds_and_switches_by_keys(page):
    assert playing(page) is None
    page.get_by_role("button", name="Play").focus()
    page.keyboard.press("Space")
    now = heard(page)
    assert (now["state"], now["rate"]) == ("running", RATE)
    assert now["levels"] == [1, 0, 0, 0, 0]
    page.keyboard.press("3")
    assert playing(page)["levels"] == [0, 0, 1, 0, 0]
    assert heard(page)["peak"] > 0.1
    page.keyboard.press("Space")
    assert playing(page) is None


def test_ratings_are_kept_as_they_are_given(page, work):
    assert slider(page, "A").is_disabled()  # not heard yet
    hear_all(page)
    rate(page, "A", 3)
    wait_for(lambda: [row["score"] for row in rows(work, "ratings")] == [30])
    assert playing(page)["levels"] == [0, 1, 0, 0, 0]  # what is rated is heard
    assert page.get_by_role("button", name="Next").is_disabled()


def test_a_reload_loses_nothing(page):
    page.reload()  # the notebook was not saved, so its output is gone
    page.wait_for_selector(".jp-NotebookPanel-toolbar")
    wait_until_idle(page)
    run_all(page)
    slider(page, "A").wait_for()
    wait_until_idle(page)
    assert slider(page, "A").input_value() == "30"
    assert slider(page, "B").is_enabled()
    assert page.get_by_text("Page 3 of 4").is_visible()


def test_a_kernel_that_is_killed_loses_nothing(page, work):
    rate(page, "B", 4)
    wait_for(lambda: [row["score"] for row in rows(work, "ratings")] == [30, 40])
    os.kill(int((work / "pid").read_text()), signal.SIGKILL)
    dialog = page.locator(".jp-Dialog button")
    dialog.click()  # it says that the kernel died
    dialog.wait_for(state="detached")
    old = page.locator(".ms-widget").element_handle()
    run_all(page)
    wait_for(lambda: not old.is_visible())
    slider(page, "A").wait_for()
    assert page.get_by_text("Page 3 of 4").is_visible()
    assert [slider(page, name).input_value() for name in "ABCD"] == [
        "30",
        "40",
        "0",
        "0",
    ]
    assert slider(page, "C").is_enabled()  # heard before
    assert len(rows(work, "listeners")) == 1


def test_to_the_end(page, work):
    rate(page, "C", 5)
    rate(page, "D", 6)
    page.get_by_role("button", name="Next").click()
    page.get_by_text("Page 4 of 4").wait_for()
    hear_all(page)
    for times, label in enumerate("ABCD", 1):
        rate(page, label, times)
    wait_for(lambda: page.get_by_role("button", name="Next").is_enabled())
    page.get_by_role("button", name="Next").click()
    page.get_by_text("Done. Thank you!").wait_for()
    with ResultStore(work / "test" / RESULTS, load_design(work / "test")) as store:
        frame = ratings_frame(store)
    scores = frame.sort_values(["page", "label"]).score
    assert [*scores] == [30, 40, 50, 60, 10, 20, 30, 40]
    assert {*frame.stimulus} == {"a", "b", "reference", "anchor35"}
    assert (frame.heard_seconds >= 0.3).all()
    assert page.problems == []
