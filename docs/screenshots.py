"""Make the README's pictures of the widgets: JupyterLab in Chromium, our own music.

python docs/screenshots.py        writes docs/mask_lab.png and docs/listening_test.png
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.browser.lab import jupyterlab, open_notebook, wait_for  # noqa: E402

CELLS = (
    """
from pathlib import Path
from mssedu import load_track
from mssedu.audio.tensors import save_audio
from mssedu.data.loading import demo_data
from mssedu.listening import ListeningTest, MaskLab
from mssedu.listening.test.create import create_test
from mssedu.listening.test.design import Excerpts
from mssedu.evaluation.oracles import oracle_estimate

song = load_track(demo_data() / "valid" / "Francium")
mixture, sources = song.mixture(29, 8), song.sources(29, 8)
stems = dict(zip(song.stems, sources))
""",
    'MaskLab(mixture, song.sample_rate, stems, target="vocals")',
    """
for name in ("ibm", "irm", "mwf"):
    estimate = oracle_estimate(name, sources, mixture, song.sample_rate)
    path = Path(name) / "test" / "Francium" / "vocals.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_audio(path, estimate[0], song.sample_rate, subtype="float32")
for stem, source in stems.items():
    path = Path("songs/test/Francium") / f"{stem}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_audio(path, source, song.sample_rate, subtype="float32")
runs = {name: Path(name) for name in ("ibm", "irm", "mwf")}
excerpts = Excerpts(data=Path("songs"), seconds=8.0, template="test/{track}/{stem}.wav")
create_test("test", runs, excerpts, title="Which voice is best?")
ListeningTest("test")
""",
)


def take(page: Page, place: int, name: str) -> None:
    page.mouse.move(0, 0)
    page.locator(".ms-widget").nth(place).screenshot(path=ROOT / "docs" / name)


def main() -> None:
    with sync_playwright() as run, tempfile.TemporaryDirectory() as folder:
        program = shutil.which("chromium")
        settings = ["--no-sandbox", "--mute-audio", "--force-device-scale-factor=1.5"]
        browser = run.chromium.launch(executable_path=program, args=settings)
        with jupyterlab(folder) as address:
            path = Path(folder) / "nb.ipynb"
            page = open_notebook(
                browser, address, path, CELLS, ".ms-widget >> nth=1 >> .ms-play"
            )
            lab, test = (page.locator(".ms-widget").nth(place) for place in (0, 1))
            lab.get_by_role("button", name="Play").click()
            page.wait_for_timeout(3000)
            take(page, 0, "mask_lab.png")
            test.get_by_role("button", name="Play").focus()
            page.keyboard.press("Space")
            for key in "1234567":
                page.keyboard.press(key)
                page.wait_for_timeout(1300)
            wait_for(lambda: not test.locator(".ms-rate:disabled").count())
            for label, score in zip("ABCDE", (64, 25, 82, 47, 100), strict=True):
                slider = test.get_by_role("slider", name=f"{label}, quality")
                slider.focus()
                for _ in range(score):
                    page.keyboard.press("ArrowRight")
            take(page, 1, "listening_test.png")
        browser.close()


if __name__ == "__main__":
    main()
