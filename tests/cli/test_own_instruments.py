"""The way from recordings of instruments to a table of scores, as one shell script."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "own_instruments.sh"
STEMS = ("dizi", "pipa", "yangqin", "other")


@pytest.mark.skipif(shutil.which("bash") is None, reason="the script needs bash")
def test_the_script_needs_a_folder():
    done = subprocess.run(["bash", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "usage: bash docs/own_instruments.sh OUT" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="the script needs bash")
def test_own_recordings_become_a_model_and_a_table(tmp_path):
    folder = Path(sys.executable).parent
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", SCRIPT, tmp_path / "a folder"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": path},
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "a folder"
    document = json.loads((out / "mixes" / "build.json").read_text("utf-8"))
    assert {row["license"] for row in document["sources"]} == {"CC0"}
    assert len(document["mixes"]) == 40
    assert "40 songs, layout mixes: 0 errors, 0 warnings, 0 notes" in done.stdout
    assert {p.stem for p in out.glob("separated/*/*.wav")} == {*STEMS}

    title, *rows = done.stdout[done.stdout.index("usdr, dB") :].splitlines()
    assert title.split()[3:] == [*STEMS, "average"]
    means = {
        row.split()[0]: dict(zip(STEMS, map(float, row.split()[4:8]), strict=True))
        for row in rows
        if "mean of tracks" in row
    }
    for stem in STEMS:
        assert means["model"][stem] > means["mixture"][stem] + 3
    assert sum(means["model"][stem] > 0 for stem in STEMS) >= 3
