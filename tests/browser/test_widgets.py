"""The widgets in JupyterLab: seen, played, switched and painted by mouse and keys.

One server, one notebook and one page for all tests of this file, in their order.
"""

import re

import nbformat
import pytest

from tests.browser.lab import heard, jupyterlab, open_notebook, playing, wait_for

pytestmark = pytest.mark.slow

CELLS = (
    """
import torch
from mssedu.listening import ABSwitch, MaskLab, Player, StemMixer
clock = torch.arange(4 * 44100) / 44100
stems = {
    name: 0.2 * torch.sin(2 * torch.pi * hz * clock).expand(2, -1)
    for name, hz in {"bass": 110, "vocals": 440, "drums": 3000}.items()
}
mixture = torch.stack([*stems.values()]).sum(0)
""",
    'Player(mixture, 44100, "three tones")',
    "switch = ABSwitch(stems, 44100, blind=True, seed=2)\nswitch",
    "mixer = StemMixer(stems, 44100, mixture)\nmixer",
    "lab = MaskLab(mixture, 44100, stems)\nlab",
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("lab") / "nb.ipynb"


@pytest.fixture(scope="module")
def page(browser, path):
    """The notebook, open and run from top to bottom."""
    with jupyterlab(path.parent) as address:
        page = open_notebook(browser, address, path, CELLS)
        page.wait_for_selector(".ms-widget >> nth=3 >> .ms-play")
        yield page
        page.close()


def widget(page, place):
    return page.locator(".ms-widget").nth(place)


def test_a_click_on_play_starts_the_sound(page):
    player = widget(page, 0)
    assert playing(page) is None
    player.get_by_role("button", name="Play").click()
    now = heard(page)
    assert (now["state"], now["rate"]) == ("running", 44100)
    # Three tones of 0.2, before the volume
    wait_for(lambda: 0.5 < playing(page)["peak"] < 0.61)
    first = now["position"]
    assert wait_for(lambda: playing(page)["position"] > first)
    position = player.get_by_role("slider", name="Position in three tones")
    assert float(position.get_attribute("aria-valuenow")) > 0


def test_space_pauses_and_arrows_move(page):
    page.keyboard.press("Space")  # the play button has the focus
    assert playing(page) is None
    position = widget(page, 0).get_by_role("slider", name="Position")
    position.focus()
    page.keyboard.press("End")
    assert position.get_attribute("aria-valuenow") == "4.00"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert position.get_attribute("aria-valuenow") == "0.08"


def test_a_drag_marks_a_loop_and_escape_forgets_it(page):
    player = widget(page, 0)
    box = player.locator(".ms-pane").bounding_box()
    x, y = box["x"], box["y"] + 20
    page.mouse.move(x + box["width"] * 0.25, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] * 0.4, y)
    page.mouse.move(x + box["width"] * 0.5, y)
    page.mouse.up()
    assert player.locator(".ms-mark").is_visible()
    page.keyboard.press("Space")
    now = heard(page)
    assert now["repeat"]
    assert now["region"] == pytest.approx([1.0, 2.0], abs=0.02)
    assert 1.0 <= now["position"] <= 2.02
    page.keyboard.press("Escape")
    assert playing(page)["region"] == [0, 4]
    assert player.locator(".ms-mark").is_hidden()


def test_number_keys_switch_and_the_other_widget_falls_silent(page):
    switch = widget(page, 1)
    assert switch.get_by_role("radio").all_inner_texts() == ["1A", "2B", "3C"]
    switch.get_by_role("button", name="Play").click()
    assert heard(page)["peak"] < 0.25  # one tone
    assert widget(page, 0).get_by_role("button", name="Play").is_visible()
    page.keyboard.press("3")
    assert playing(page)["levels"] == [0, 0, 1]
    assert switch.get_by_role("radio", checked=True).inner_text() == "3C"
    page.keyboard.press("Tab")  # nothing of this is taken by the notebook's commands
    assert switch.evaluate("e => e.contains(document.activeElement)")
    switch.get_by_role("radio", name="C").focus()
    page.keyboard.press("ArrowRight")
    assert playing(page)["levels"] == [1, 0, 0]


def test_reveal_asks_python_for_the_names(page):
    switch = widget(page, 1)
    switch.get_by_role("button", name="Reveal").click()
    switch.get_by_role("radio", name="vocals").wait_for()
    names = [text[1:] for text in switch.get_by_role("radio").all_inner_texts()]
    assert sorted(names) == ["bass", "drums", "vocals"]
    assert names != ["bass", "vocals", "drums"]


def test_the_mixer_by_keys(page):
    mixer = widget(page, 2)
    mixer.get_by_role("button", name="Play").click()
    assert heard(page)["levels"] == [1, 1, 1, 0]  # the residual is muted
    page.keyboard.press("2")
    assert playing(page)["levels"] == [0, 1, 0, 0]
    solo = mixer.get_by_role("button", name="Solo vocals")
    assert solo.get_attribute("aria-pressed") == "true"
    page.keyboard.press("2")
    mixer.get_by_role("slider", name="Fader bass").focus()
    page.keyboard.press("Home")
    assert playing(page)["levels"] == [0, 1, 1, 0]
    clip = mixer.locator(".ms-clip")
    assert "ms-on" not in clip.get_attribute("class")
    for stem in ("vocals", "drums"):
        mixer.get_by_role("slider", name=f"Fader {stem}").focus()
        page.keyboard.press("End")
        mixer.get_by_role("slider", name=f"Pan {stem}").focus()
        page.keyboard.press("Home")
    # Two tones of 0.4 from both channels on the left: 1.6
    wait_for(lambda: "ms-on" in clip.get_attribute("class"))


def test_the_mask_lab_goes_to_python_and_back(page):
    lab = widget(page, 3)
    caption = lab.locator(".ms-title")

    def share():
        return float(re.search(r"has ([\d.]+) %", caption.inner_text())[1])

    assert 30 < share() < 36  # a third: the bass of three equal tones
    lab.get_by_role("button", name="Play").click()
    page.keyboard.press("2")
    assert heard(page)["levels"] == [0, 1, 0, 0]
    wait_for(lambda: 0.15 < playing(page)["peak"] < 0.25)
    threshold = lab.get_by_role("slider", name="Threshold")
    threshold.focus()
    page.keyboard.press("End")  # a floor as loud as the loudest bin
    wait_for(lambda: share() < 20)
    wait_for(lambda: playing(page)["peak"] < 0.13)  # other samples have come
    lab.get_by_role("combobox", name="Target").select_option("vocals")
    wait_for(lambda: "as vocals" in caption.inner_text())


def test_a_mask_is_painted_by_mouse_and_by_keys(page):
    lab = widget(page, 3)
    caption = lab.locator(".ms-title")
    undo = lab.get_by_role("button", name="Undo")
    assert undo.is_disabled()
    before = caption.inner_text()
    lab.get_by_role("radio", name="Keep").click()
    box = lab.locator(".ms-pane").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 73)  # along the tone of 3 kHz
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 73, steps=5)
    page.mouse.up()
    wait_for(lambda: undo.is_enabled())
    wait_for(lambda: caption.inner_text() != before)
    lab.get_by_role("slider", name="Position").focus()
    page.keyboard.press("r")
    assert lab.get_by_role("radio", checked=True).last.inner_text() == "Remove"
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Enter")
    page.keyboard.press("z")
    page.keyboard.press("z")
    wait_for(lambda: caption.inner_text() == before)
    assert undo.is_disabled()


def test_every_control_has_a_name_and_is_reached_by_keys(page):
    nameless = page.evaluate("""() => {
        const all = document.querySelectorAll(
            ".ms-widget :is(button, input, select, meter, [role=slider])");
        const named = (e) => e.ariaLabel || e.textContent.trim() || e.title;
        return [all.length, [...all].filter((e) => !named(e)).map((e) => e.outerHTML)];
    }""")
    assert nameless[0] > 40
    assert nameless[1] == []
    mixer = widget(page, 2)
    mixer.get_by_role("button", name=re.compile("Play|Pause")).focus()
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.ariaLabel"))
    for control in (
        "Volume",
        "Mute bass",
        "Solo drums",
        "Fader vocals",
        "Pan residual",
    ):
        assert control in reached
    assert "Position" in reached


def test_no_page_error_and_no_output_of_commands(page):
    assert page.problems == []
    assert page.locator(".jp-RenderedText").count() == 0
    assert page.locator(".jp-Cell").count() == len(CELLS)


def test_a_cell_run_again_ends_its_sound(page):
    assert playing(page) is not None
    cell = page.locator(".jp-CodeCell").nth(4).locator(".jp-InputArea-editor")
    cell.click()
    page.keyboard.press("Control+Enter")
    wait_for(lambda: playing(page) is None)
    widget(page, 3).get_by_role("button", name="Play").wait_for()


def test_the_saved_notebook_is_light(page, path):
    widget(page, 3).get_by_role("radio", name="result").focus()  # it works from here
    page.keyboard.press("Control+s")
    wait_for(lambda: "widget-view" in path.read_text("utf-8"))
    assert path.stat().st_size < 40_000  # pictures, and no sound
    assert "widgets" not in nbformat.read(path, as_version=4).metadata


def test_after_a_reload_the_sounds_come_again(page):
    page.reload()
    page.wait_for_selector(".ms-widget >> nth=3 >> .ms-play")
    widget(page, 1).get_by_role("button", name="Play").click()
    assert heard(page)["state"] == "running"
    assert widget(page, 1).get_by_role("radio", name="vocals").is_visible()
