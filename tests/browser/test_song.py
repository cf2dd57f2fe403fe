"""A whole song in the mixer, in JupyterLab: 240 s, four stems and their residual.

Each stem has one click at the same sample, and a tone of its own.
"""

import pytest
import torch

from tests.browser.lab import heard, jupyterlab, open_notebook, playing, wait_for

pytestmark = pytest.mark.slow

TONES = {"vocals": 440, "drums": 3000, "bass": 80, "other": 1000}  # Hz
RATE, SECONDS, CLICK = 44100, 240, 123.456  # Hz, s, s
CELLS = (
    f"""
import torch
from mssedu.listening import Player, StemMixer
clock = torch.arange({SECONDS * RATE}) / {RATE}
stems = {{}}
for name, hz in {TONES}.items():
    stems[name] = (0.1 * torch.sin(6.283 * hz * clock)).repeat(2, 1)
    stems[name][:, round({CLICK} * {RATE})] = 0.9
mixture = torch.stack([*stems.values()]).sum(0)
""",
    f"mixer = StemMixer(stems, {RATE}, mixture)\nmixer",
)
# Of each sound of the engine that plays: length, place and value of its peak, and a sum
# of all steps of 16 bits, which tells their order too
FACTS = """() => BUFFERS.map((sound) => {
    const samples = sound.getChannelData(0);
    let [place, steps] = [0, 0];
    samples.forEach((x, i) => {
        if (Math.abs(x) > Math.abs(samples[place])) place = i;
        steps += Math.round(x * 32767) * ((i % 7) + 1);
    });
    return [sound.length, place, samples[place], steps];
})""".replace("BUFFERS", 'globalThis[Symbol.for("mssedu.listening")].playing.buffers')


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("song") / "nb.ipynb"
    with jupyterlab(path.parent) as address:
        page = open_notebook(browser, address, path, CELLS, timeout=240_000)
        page.wait_for_selector(".ms-play")
        page.path = path
        yield page
        page.close()


def test_every_sample_arrives_and_all_stems_are_aligned(page):
    page.get_by_role("button", name="Play").click()
    assert heard(page)["levels"] == [1, 1, 1, 1, 0]
    facts = page.evaluate(FACTS)
    assert [length for length, *_ in facts] == [SECONDS * RATE] * 5
    assert [place for _, place, *_ in facts[:4]] == [round(CLICK * RATE)] * 4
    clicks = [value for _, _, value, _ in facts[:4]]
    assert clicks == pytest.approx([round(0.9 * 32767) / 32767] * 4, abs=1e-7)


def test_the_browser_has_the_steps_that_python_sent(page):
    clock = torch.arange(SECONDS * RATE) / RATE
    bass = 0.1 * torch.sin(6.283 * TONES["bass"] * clock)
    bass[round(CLICK * RATE)] = 0.9
    steps = (bass * 32767).round().long()
    weights = torch.arange(len(steps)) % 7 + 1
    assert page.evaluate(FACTS)[2][3] == int((steps * weights).sum())


def test_pause_solo_mute_and_a_jump_work(page):
    page.get_by_role("button", name="Mute drums").click()
    wait_for(lambda: playing(page)["levels"] == [1, 0, 1, 1, 0])
    page.get_by_role("button", name="Solo bass").click()
    wait_for(lambda: playing(page)["levels"] == [0, 0, 1, 0, 0])
    position = page.get_by_role("slider", name="Position")
    position.focus()
    page.keyboard.press("Space")
    assert playing(page) is None
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")  # a fiftieth of the song
    assert position.get_attribute("aria-valuenow") == "235.20"
    page.keyboard.press("Space")
    assert heard(page)["state"] == "running"


def test_after_a_reload_the_song_comes_again(page):
    page.keyboard.press("Control+s")
    wait_for(lambda: "widget-view" in page.path.read_text("utf-8"))
    page.reload()
    page.wait_for_selector(".ms-play")
    page.get_by_role("button", name="Play").click()
    assert heard(page)["levels"][2] == 1  # bass is soloed, as before
    assert page.evaluate(FACTS)[0][1] == round(CLICK * RATE)
    assert page.problems == []
