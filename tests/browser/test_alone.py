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
def served(folder, port=0, token=None):
    """`mssedu listen serve` in a process of its own; gives it and the link."""
    code = "from mssedu.cli.commands import main; raise SystemExit(main())"
    words = ["listen", "serve", str(folder), "--no-open-browser"]
    words = [sys.executable, "-c", code, *words, "--port", str(port)]
    words += ["--token", token] if token else []
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

    def visit(link, script="", **settings):
        page = browser.new_context(**settings).new_page()
        page.set_default_timeout(20_000)
        page.add_init_script(script)  # runs before the page's own
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
    with served(folder, port_of(link)) as (_, link):  # with the same token
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
        answer = page.request.post(page.url + "tell", data=[])
        assert answer.status == 400
        assert "must be a JSON object" in answer.json()["error"]


def port_of(link):
    return int(re.search(r":(\d+)/", link)[1])


def rated(page, key="End"):
    """Hear all, and set the first slider."""
    hear_all(page)
    page.get_by_role("slider", name="A, quality").focus()
    page.keyboard.press(key)


def test_a_link_that_has_changed_ends_the_attempts(folder, visit):
    """The page says why, asks for nothing any more, and loses nothing."""
    with served(folder, token="old") as (_, link):
        page = visit(link)
        begin(page)
        hear_all(page)
    asked = []
    with served(folder, port_of(link), token="new") as (_, link):
        page.on("request", lambda request: asked.append(request.url))
        page.get_by_role("slider", name="A, quality").focus()
        page.keyboard.press("End")
        alert = page.get_by_role("alert")
        alert.get_by_text("Not sent: Open the link that you were given.").wait_for()
        n = len(asked)
        page.wait_for_timeout(2000)
        assert len(asked) == n
        other = page.context.new_page()
        other.goto(link)  # the new link, in the same browser
        press(page, "Try again")
        wait_for(lambda: [row["score"] for row in rows_of(folder)] == [100])
        until(page, "!document.querySelector('[role=alert]').innerText")


def test_results_that_were_replaced_end_the_attempts(folder, visit):
    with served(folder) as (_, link):
        page = visit(link)
        begin(page)
        hear_all(page)
    for path in folder.glob(f"{RESULTS}*"):
        path.unlink()
    with served(folder, port_of(link)):
        page.get_by_role("slider", name="A, quality").focus()
        page.keyboard.press("End")
        page.get_by_text("Not sent: Nobody has this code.").wait_for()
        assert page.get_by_role("button", name="Try again").is_visible()


def test_an_answer_that_is_lost_on_its_way_back_counts_once(folder, visit):
    with served(folder) as (_, link):
        page, lost, sent = visit(link), [], {}
        begin(page)

        def note(request):
            message = request.post_data_json
            sent[message["number"]] = message["words"]

        def lose(route):
            kind = route.request.post_data_json["words"]["kind"]
            answer = route.fetch()  # the server has it
            if lost.count(kind) < 3:
                lost.append(kind)
                route.abort()
            else:
                route.fulfill(response=answer)

        page.on("request", note)
        page.route("**/tell", lose)
        hear_all(page)
        page.get_by_role("slider", name="A, quality").focus()
        page.keyboard.press("End")
        wait_for(lambda: page.evaluate("1") and lost.count("rate") == 3)
        until(page, "!document.querySelector('[role=alert]').innerText")
        page.unroute("**/tell")
    assert lost.count("heard") == 3
    (row,) = rows_of(folder)
    assert (row["score"], row["changes"]) == (100, 0)
    said = [words for words in sent.values() if words["kind"] == "heard"]
    with ResultStore(folder / RESULTS) as store:
        for row in store.rows("heard"):
            mine = [words for words in said if words["label"] == row["label"]]
            assert row["plays"] == sum(words["begun"] for words in mine)
            assert row["seconds"] == pytest.approx(sum(w["seconds"] for w in mine))


def test_a_page_waits_while_answers_cannot_be_saved(folder, visit):
    text = "Your answers cannot be saved now. Keep this page open."
    with served(folder) as (_, link):
        page = visit(link)
        begin(page)
        hear_all(page)
        settings = {"status": 503, "json": {"error": text}}
        page.route("**/tell", lambda route: route.fulfill(**settings))
        page.get_by_role("slider", name="A, quality").focus()
        page.keyboard.press("End")
        page.get_by_role("alert").get_by_text(f"Not sent yet: {text}").wait_for()
        page.unroute("**/tell")
        wait_for(lambda: [row["score"] for row in rows_of(folder)] == [100])
        until(page, "!document.querySelector('[role=alert]').innerText")


def test_half_a_character_does_not_stop_a_listener(folder, visit):
    with served(folder) as (_, link):
        page = visit(link)
        begin(page)
        hear_all(page)
        page.evaluate("""() => {
            const remarks = document.querySelector("textarea");
            remarks.value = "half \\ud83d";
            remarks.dispatchEvent(new Event("change"));
        }""")
        rate_all(page)
        press(page, "Next")
        page.get_by_text("Page 4 of 4").wait_for()
    frame, _ = frame_of(folder)
    assert {*frame.comment} == {"half ?"}


HOSTILE = (
    "</script><img src=x onerror='window.XSS=1'><script>window.XSS=1</script>\"'{}`"
)


def hostile(folder):
    """A test whose names and texts are HTML."""
    files = {f"{HOSTILE} {name}": f"{name}1.wav" for name in "ab"}
    design = Design(
        f"title {HOSTILE}",
        "mushra",
        (Trial(f"song {HOSTILE}"[:100], files, "r1.wav"),),
        anchors=(),
        questions={f"q {HOSTILE}": f"text {HOSTILE}"},
        consent=f"consent {HOSTILE}",
        questionnaire={f"asked {HOSTILE}": (f"choice {HOSTILE}", "x"), "free": ()},
        n_replicates=0,
        least_heard_seconds=0.0,
    )
    (folder / "test.toml").unlink()
    save_design(folder / "test.toml", design)


def read_hostile(page):
    """Every page of the hostile test shows its texts as texts."""
    page.get_by_text(f"title {HOSTILE}").wait_for()
    press(page, "Begin")
    page.get_by_text(f"consent {HOSTILE}").wait_for()
    press(page, "I agree")
    page.get_by_text(f"asked {HOSTILE}").wait_for()
    page.get_by_text(f"choice {HOSTILE}").click()
    page.get_by_role("textbox").fill(HOSTILE)
    press(page, "Next")
    page.get_by_text(f"text {HOSTILE}").wait_for()
    page.get_by_role("textbox", name="Remarks").fill(HOSTILE)
    page.get_by_role("textbox", name="Remarks").blur()
    assert page.evaluate("[window.XSS, document.images.length]") == [None, 0]


def test_texts_of_a_test_run_no_script(folder, visit, tmp_path):
    hostile(folder)
    with served(folder) as (_, link):
        read_hostile(visit(link))
    with ResultStore(folder / RESULTS, load_design(folder)) as store:
        read_hostile(visit(write_test_page(store, tmp_path / "x.html", 1).as_uri()))


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


FORBIDDEN = {
    "denied": "get() { throw new DOMException('denied', 'SecurityError'); }",
    "missing": "get() { return null; }",
}


@pytest.mark.parametrize("how", FORBIDDEN)
def test_one_file_where_the_browser_forbids_storage(folder, visit, tmp_path, how):
    script = f"Object.defineProperty(window, 'localStorage', {{ {FORBIDDEN[how]} }})"
    with ResultStore(folder / RESULTS, load_design(folder)) as store:
        path = write_test_page(store, tmp_path / "alone.html", 1)
        page = visit(path.as_uri(), script)
        warning = page.get_by_text("does not let the page save your answers")
        assert "Finish the test in one go" in warning.inner_text()
        listener = begin(page)
        assert warning.is_visible()
        finish(page)
        assert warning.is_visible()
        press(
            page, "Next listener"
        )  # the answers are in the page as long as it is open
        page.get_by_role("textbox", name="code").fill(listener)
        press(page, "Go on")
        with page.expect_download() as saved:
            page.get_by_role("link", name="Save your answers").click()
        assert read_json(saved.value.path(), store) == [listener]
        assert len(ratings_frame(store)) == 2 * 4


def test_a_full_storage_loses_nothing_in_the_page(folder, visit, tmp_path):
    script = """Storage.prototype.setItem = function (key, value) {
        if (value.length > 600) throw new DOMException("full", "QuotaExceededError");
        this[key] = value;
    };"""
    with ResultStore(folder / RESULTS, load_design(folder)) as store:
        page = visit(
            write_test_page(store, tmp_path / "alone.html", 1).as_uri(), script
        )
        begin(page)
        page.locator(".ms-play:focus").wait_for()
        hear_all(page)
        page.get_by_text("Not saved in this browser").wait_for()
        rate_all(page)
        press(page, "Next")
        page.get_by_text("Page 4 of 4").wait_for()


PLAYED = """async () => {
    document.querySelector(".ms-play").click();
    const page = globalThis[Symbol.for("mssedu.listening")];
    while (!page.playing?.run) await new Promise((f) => setTimeout(f, 20));
    return page.playing.buffers.map((buffer) => [0, 1].map(
        (channel) => [...buffer.getChannelData(channel)]));
}"""


def check_sounds_of(page, store, listener):
    """The buffers of the third page are the sounds of the test, and in its order."""
    shown = store.pages(listener)[2]
    found = load_stimuli(store.design, shown.trial)
    names = shown.sounds(store.design).values()
    for sound, name in zip(page.evaluate(PLAYED), names, strict=True):
        apart = torch.tensor(sound) - found.sounds[name]
        assert apart.abs().max() <= 0.51 / 32767  # rounded to 16 bits, no more


def test_sounds_of_the_file_are_those_of_the_test(folder, visit, tmp_path):
    with ResultStore(folder / RESULTS, load_design(folder)) as store:
        page = visit(write_test_page(store, tmp_path / "alone.html", 1).as_uri())
        begin(page)
        check_sounds_of(page, store, store.add_listener())  # the first number's pages


def test_sounds_of_the_server_are_those_of_the_test(folder, visit):
    with served(folder) as (_, link):
        page = visit(link)
        listener = begin(page)
        with ResultStore(folder / RESULTS, load_design(folder)) as store:
            check_sounds_of(page, store, listener)
