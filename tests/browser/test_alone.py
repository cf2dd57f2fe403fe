"""A listening test without a notebook: from `listen serve`, and from one HTML file."""

import contextlib
import os
import re
import signal
import subprocess
import sys

import pytest
import torch

from mssedu.listening.results.export import ratings_frame, read_json
from mssedu.listening.test.create import RESULTS
from mssedu.listening.test.design import Design, Trial, load_design, save_design
from mssedu.listening.test.offline import write_test_page
from mssedu.listening.test.stimuli import load_stimuli
from mssedu.listening.test.store import ResultStore
from tests.browser.lab import wait_for
from tests.listening.noise import write_noise

pytestmark = pytest.mark.slow

RATE = 16000
ASKED = {"headphones": ("yes", "no"), "Years of 'music'": ()}


@pytest.fixture
def folder(tmp_path):
    """A test of two songs, two systems, a reference and an anchor; no two alike."""
    names = [f"{name}{song}" for song in "12" for name in "abr"]
    write_noise(tmp_path, names, RATE, channels=2, seconds=2)
    trials = tuple(
        Trial(f"song {i}", {"a": f"a{i}.wav", "b": f"b{i}.wav"}, f"r{i}.wav")
        for i in "12"
    )
    settings = {"consent": "Really?", "questionnaire": ASKED, "n_replicates": 0}
    settings |= {"anchors": ("anchor35",), "least_heard_seconds": 0.3}
    save_design(tmp_path / "test.toml", Design("Ears", "mushra", trials, **settings))
    return tmp_path


@contextlib.contextmanager
def served(folder, port=0):
    """`mssedu listen serve` in a process of its own; gives it and the link."""
    code = "from mssedu.cli.commands import main; raise SystemExit(main())"
    words = ["listen", "serve", str(folder), "--token", "t", "--no-open-browser"]
    words = [sys.executable, "-c", code, *words, "--port", str(port)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    run = subprocess.Popen(words, stdout=subprocess.PIPE, env=environment, text=True)
    try:
        link = run.stdout.readline().split()[-1]
        yield run, link
    finally:
        run.kill()
        run.wait()
        run.stdout.close()


@pytest.fixture
def visit(browser):
    """Open a page as somebody new, with a memory of its own."""
    opened = []

    def visit(link, **settings):
        page = browser.new_context(**settings).new_page()
        page.set_default_timeout(20_000)
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(link)
        opened.append(page)
        return page

    yield visit
    for page in opened:
        assert page.problems == []
        page.context.close()


def until(page, script):
    """Wait for a condition; the page's policy forbids Playwright's own way to."""
    wait_for(lambda: page.evaluate(script))


def press(page, name):
    page.get_by_role("button", name=name).click()


def begin(page):
    press(page, "Begin")
    press(page, "I agree")
    page.get_by_role("radio", name="yes").check()
    page.get_by_role("textbox").fill("7")
    press(page, "Next")
    page.get_by_role("button", name="Play").wait_for()
    return page.url.rpartition("#")[2]


def hear_all(page, seconds=0.3):
    """By keys alone; the new page has put the focus on its play button."""
    page.keyboard.press("Space")
    for key in "12345":
        page.keyboard.press(key)
        page.wait_for_timeout(1000 * seconds + 200)
    until(page, "!document.querySelector('.ms-rate:disabled')")
    page.keyboard.press("Space")


def rate_all(page, scores=(10, 20, 30, 40)):
    for label, score in zip("ABCD", scores, strict=True):
        page.get_by_role("slider", name=f"{label}, quality").focus()
        for _ in range(score // 10):
            page.keyboard.press("PageUp")
    until(page, "!document.querySelector('.ms-note[role=status]').innerText")


def finish(page):
    """Both pages with sounds."""
    for number in (3, 4):
        page.get_by_text(f"Page {number} of 4").wait_for()
        page.locator(".ms-play:focus").wait_for()
        hear_all(page)
        rate_all(page)
        press(page, "Next")
    page.get_by_role("heading", name="Done. Thank you!").wait_for()


def frame_of(folder):
    with ResultStore(folder / RESULTS, load_design(folder)) as store:
        return ratings_frame(store), store.rows("answers")


def rows_of(folder):
    with ResultStore(folder / RESULTS, load_design(folder)) as store:
        return store.rows("ratings")


def test_a_served_test_from_begin_to_end(folder, visit):
    with served(folder) as (_, link):
        page = visit(link)
        assert "token" not in page.url  # nor in the history of the browser
        listener = begin(page)
        text = page.locator("body").inner_text()
        for name in ("song", "anchor35", "mixture", "wav"):
            assert name not in text
        finish(page)
        press(page, "Next listener")
        assert page.url.endswith("/")
        page.get_by_role("textbox", name="code").fill("nobody")
        press(page, "Go on")
        page.get_by_text("Nobody has this code").wait_for()
    frame, answers = frame_of(folder)
    assert len(frame) == 2 * 4
    assert {*frame.listener} == {listener}
    for _, rows in frame.groupby("page"):
        assert [*rows.sort_values("label").score] == [10, 20, 30, 40]
    assert (frame.heard_seconds >= 0.3).all()
    given = {row["name"]: row["answer"] for row in answers}
    assert given == {"consent": "yes", "headphones": "yes", "Years of 'music'": "7"}


def test_a_server_that_is_killed_loses_nothing(folder, visit):
    with served(folder) as (run, link):
        page = visit(link)
        listener = begin(page)
        hear_all(page)
        page.get_by_role("slider", name="A, quality").focus()
        page.keyboard.press("End")
        wait_for(lambda: [row["score"] for row in rows_of(folder)] == [100])
        run.send_signal(signal.SIGKILL)
        run.wait()
        page.keyboard.press("Home")  # said while nobody listens
        page.get_by_role("alert").get_by_text("Not sent yet").wait_for()
    assert [*frame_of(folder)[0].score] == []  # the page is not finished
    port = int(re.search(r":(\d+)/", link)[1])
    with served(folder, port) as (_, link):
        until(page, "!document.querySelector('[role=alert]').innerText")
        page.reload()
        page.get_by_text("Page 3 of 4").wait_for()
        assert page.url.endswith(f"#{listener}")
        slider = page.get_by_role("slider", name="A, quality")
        slider.wait_for()
        assert slider.is_enabled()  # it was heard, and need not be again
        assert page.locator("output.ms-db").first.inner_text() == "0"
    (row,) = rows_of(folder)
    assert (row["score"], row["changes"]) == (0, 1)


def test_two_listeners_at_once(folder, visit):
    with served(folder) as (_, link):
        pages = [visit(link), visit(link)]
        listeners = [begin(page) for page in pages]
        assert listeners[0] != listeners[1]
        for page in pages:
            hear_all(page)
        rate_all(pages[0], (10, 10, 10, 10))
        rate_all(pages[1], (90, 90, 90, 90))
        for page in pages:
            press(page, "Next")
            page.get_by_text("Page 4 of 4").wait_for()
    frame, _ = frame_of(folder)
    means = frame.groupby("listener").score.mean()
    assert [means[listener] for listener in listeners] == [10, 90]


def test_a_link_without_its_token_opens_nothing(folder, visit):
    with served(folder) as (_, link):
        page = visit(link.partition("?")[0])
        assert page.locator("body").inner_text() == "Open the link that you were given."
        answer = page.request.post(link.partition("?")[0] + "begin", data="{}")
        assert answer.status == 403
        page = visit(link)  # with a cookie, but words that are none
        answer = page.request.post(page.url + "tell", data="[]")
        assert (answer.status, answer.json()) == (
            400,
            {"error": "Expected a JSON object"},
        )


def test_who_declines_is_asked_nothing_else(folder, visit):
    with served(folder) as (_, link):
        page = visit(link)
        press(page, "Begin")
        press(page, "I decline")
        page.get_by_role("heading", name="You did not take part.").wait_for()
    assert [row["answer"] for row in frame_of(folder)[1]] == ["no"]


def test_one_file_without_python_or_network(folder, visit, tmp_path):
    path = tmp_path / "alone.html"
    with ResultStore(folder / RESULTS, load_design(folder)) as store:
        write_test_page(store, path, n_listeners=3)
        text = path.read_text("utf-8")
        for name in ("song 1", "anchor35", "a1.wav"):
            assert name not in text
        page = visit(path.as_uri(), offline=True)
        listener = begin(page)
        hear_all(page)
        page.reload()  # what was said is in the browser
        page.locator(".ms-play:focus").wait_for()
        assert page.get_by_role("slider", name="A, quality").is_enabled()
        finish(page)
        with page.expect_download() as saved:
            page.get_by_role("link", name="Save your answers").click()
        assert saved.value.suggested_filename == f"results_{listener}.json"
        assert read_json(saved.value.path(), store) == [listener]
        assert read_json(saved.value.path(), store) == []  # it is here already
        frame, answers = ratings_frame(store), store.rows("answers")
        pages = store.rows("pages")
    assert len(frame) == 2 * 4
    for _, rows in frame.groupby("page"):
        assert [*rows.sort_values("label").score] == [10, 20, 30, 40]
        assert {*rows.stimulus} == {"a", "b", "reference", "anchor35"}
    assert {row["name"] for row in answers} == {"consent", *ASKED}
    assert all(row["finished"].startswith("20") for row in pages)
    assert frame.rated.is_monotonic_increasing
    assert frame.changes.max() == 3  # PageUp by PageUp


def test_sounds_of_the_file_are_those_of_the_test(folder, visit, tmp_path):
    path, design = tmp_path / "alone.html", load_design(folder)
    with ResultStore(folder / RESULTS, design) as store:
        page = visit(write_test_page(store, path, 1).as_uri())
        begin(page)
        shown = store.pages(store.add_listener())[2]  # the first number's third page
    heard = page.evaluate("""async () => {
        const key = Symbol.for("mssedu.listening");
        document.querySelector(".ms-play").click();
        const page = globalThis[key];
        while (!page.playing?.run) await new Promise((f) => setTimeout(f, 20));
        return page.playing.buffers.map((buffer) => [0, 1].map(
            (channel) => [...buffer.getChannelData(channel)]));
    }""")
    found = load_stimuli(design, shown.trial)
    for sound, name in zip(heard, shown.sounds(design).values(), strict=True):
        apart = torch.tensor(sound) - found.sounds[name]
        assert apart.abs().max() <= 0.51 / 32767  # rounded to 16 bits, no more
