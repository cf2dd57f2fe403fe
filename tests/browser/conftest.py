"""A headless Chromium for the tests of this folder; without one they are skipped."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium: sudo apt-get install chromium")
    with playwright.sync_playwright() as run:
        # Containers give no sandbox to root; nothing from outside is opened here.
        chromium = run.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--mute-audio"]
        )
        yield chromium
        chromium.close()
