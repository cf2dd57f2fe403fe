"""JupyterLab in Chromium: a server, a notebook, a page, for tests of this folder."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

TOKEN = "listening"
# The one engine that plays, and what it says of itself
PLAYING = """() => {
    const { playing } = globalThis[Symbol.for("mssedu.listening")] ?? {};
    if (!playing?.run) return null;
    const { context, levels, position, repeat, region } = playing;
    return { state: context.state, rate: context.sampleRate, peak: playing.peak(),
        levels, position, repeat, region };
}"""
QUIET = {"fetchNews": "false", "checkForUpdates": False}  # no dialog at the start


@contextlib.contextmanager
def jupyterlab(work):
    """JupyterLab on a port of its own, with no settings of whoever runs the tests."""
    pytest.importorskip("jupyterlab", reason="needs jupyterlab")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as found:
        root = Path(folder)
        settings = root / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        quiet = settings / "notification.jupyterlab-settings"
        quiet.write_text(json.dumps(QUIET))
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
        found.close()
        run = start(root, work, port)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(f"{address}/api?token={TOKEN}"), 60)
            yield address
        finally:
            run.terminate()
            run.wait(20)


def start(root, work, port):
    places = {
        "JUPYTERLAB_SETTINGS_DIR": root / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": root / "workspaces",
        "JUPYTER_CONFIG_DIR": root / "config",
        "IPYTHONDIR": root / "ipython",
    }
    words = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={work}",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.update({name: str(place) for name, place in places.items()})
    with (root / "log").open("wb") as log:
        return subprocess.Popen(words, env=environment, stdout=log, stderr=log)


def open_notebook(browser, address, path, cells, shown=".ms-widget", timeout=60_000):
    """Write a notebook of code cells, open it and run it until a selector is shown."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    notebook.cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    nbformat.write(notebook, path)
    page = browser.new_page(viewport={"width": 1200, "height": 2200})
    page.set_default_timeout(timeout)  # ms
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(f"{address}/lab/workspaces/x/tree/{path.name}?token={TOKEN}&reset")
    page.wait_for_selector(".jp-NotebookPanel-toolbar")
    wait_until_idle(page)  # a command for a kernel that still starts would be lost
    run_all(page)
    page.wait_for_selector(shown)
    wait_until_idle(page)
    return page


def run_all(page):
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
    item = page.locator(".lm-Menu-itemLabel").get_by_text("Run All Cells", exact=True)
    box = item.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def wait_for(condition, seconds=20):
    """What a condition gives once it gives something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"{condition} stayed false for {seconds} s")


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def wait_until_idle(page):
    page.get_by_text(re.compile(r"\| Idle$")).wait_for()  # in the status bar


def playing(page):
    return page.evaluate(PLAYING)


def heard(page):
    """The engine that plays, once its sound has reached the meter."""
    return wait_for(lambda: (now := playing(page)) and now["peak"] > 0.01 and now)
