"""`mssedu analyze`: a page and its numbers, and never over an earlier one."""

import json

import pytest
import torch
import tyro

from mssedu.audio.tensors import save_audio
from mssedu.cli.analyze import analyze
from mssedu.errors import InputError

STEMS = ("vocals", "drums", "bass", "other")


@pytest.fixture
def songs(tmp_path):
    for song in ("a", "b"):
        folder = tmp_path / "songs" / song
        folder.mkdir(parents=True)
        for stem in STEMS:
            save_audio(folder / f"{stem}.wav", 0.2 * torch.rand(2, 66150) - 0.1, 44100)
    return tmp_path / "songs"


def run(*args):
    return tyro.cli(analyze, args=[str(arg) for arg in args])


def test_a_page_and_its_numbers(songs, model, tmp_path, capsys):
    folder = tmp_path / "found"
    command = (songs, "-m", model, "--tracks", 1, "--worst", 2, "-o", folder)
    assert run(*command) == 0
    numbers = json.loads((folder / "errors.json").read_text("utf-8"))
    assert list(numbers["tracks"]) == ["a"]
    assert len(numbers["worst"]) == 2
    page = (folder / "report.html").read_text("utf-8")
    assert "1 of " in page
    assert f"<h1>Errors of {model}</h1>" in page
    said = capsys.readouterr().out
    for text in (*STEMS, "errors.json", "report.html", "MB"):
        assert text in said
    before = (folder / "report.html").stat().st_mtime_ns
    with pytest.raises(InputError, match=r"report\.html"):
        run(*command)
    assert (folder / "report.html").stat().st_mtime_ns == before


def test_it_refuses_no_songs(songs, model):
    with pytest.raises(InputError, match="tracks"):
        run(songs, "-m", model, "--tracks", 0)
