"""The Python part of every widget: what is sent, what is saved, its texts."""

import base64
import io
import re

import ipywidgets
import nbformat
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image

import mssedu
from mssedu.errors import InputError
from mssedu.listening import ABSwitch, Player
from mssedu.listening.widgets.base import STATIC, ListeningWidget, joined

SCRIPTS = sorted(STATIC.glob("*.js"))
MIME = "application/vnd.jupyter.widget-view+json"


def two(samples=800):
    return {"a": torch.full((1, samples), 0.5), "b": torch.full((1, samples), -2.0)}


def test_the_sounds_are_sent_at_once_and_again_when_asked(sent):
    widget = ABSwitch(two(), 8000)
    (content, buffers) = sent.pop()
    assert not sent
    assert content == {"kind": "data", "names": ["0", "1"], "scales": [1.0, 2.0]}
    assert [len(buffer) for buffer in buffers] == [1600, 1600]
    widget._on_message(widget, {"kind": "send"}, [])
    assert sent == [(content, buffers)]


def test_the_state_that_notebooks_save_holds_no_sound():
    state = Player(torch.rand(2, 80000) - 0.5, 8000).get_state()
    del state["_esm"], state["_css"]
    assert not any(isinstance(value, bytes | memoryview) for value in state.values())
    assert len(repr(state)) < 2000


def test_no_sound_in_a_notebook_that_a_tool_executed():
    # Even with the widgets' state kept, as nbconvert does unless told otherwise.
    cell = (
        "import torch\nfrom mssedu.listening import Player\n"
        "Player(torch.rand(2, 441000) - 0.5, 44100)"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    NotebookClient(notebook, timeout=120, store_widget_state=True).execute()
    assert MIME in notebook.cells[0].outputs[0].data
    assert "Waiting for the sound" in nbformat.writes(notebook)  # the page is there
    assert len(nbformat.writes(notebook)) < 60_000  # of 1.8 million samples


def test_a_long_sound_goes_in_pieces_and_only_what_is_missing_is_sent_again(sent):
    sounds = two(samples=50 * 8000)
    widget = ABSwitch(sounds, 8000)
    assert widget._parts == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    assert widget._shape["piece"] == 160_000
    assert [content["names"] for content, _ in sent] == [
        [name] for name in widget._parts
    ]
    assert sent[5][0]["scales"] == [2.0]
    assert all(buffers[0][:4] == b"fLaC" for _, buffers in sent)
    again = sent[1]
    sent.clear()
    widget._on_message(widget, {"kind": "send", "names": ["0.1", "unknown"]}, [])
    assert sent == [again]


def test_a_player_of_a_long_sound_sends_its_picture_too(sent):
    player = Player(torch.rand(1, 40 * 8000), 8000)
    assert player._parts == ["picture", "palette", "0.0", "0.1"]
    assert [content["names"] for content, _ in sent] == [
        ["picture", "palette"],
        ["0.0"],
        ["0.1"],
    ]


def test_a_page_without_python_gets_a_picture_with_a_text():
    widget = ABSwitch(two(), 8000)
    data, metadata = widget._repr_mimebundle_()
    assert data["text/plain"] == "ABSwitch(n=2, sample_rate=8000, seconds=0.1)"
    assert "text/html" not in data  # pages prefer it to a picture
    assert metadata["image/png"]["alt"] == (
        "ABSwitch(n=2, sample_rate=8000, seconds=0.1): run the cell to listen. "
        "The picture shows a, b."
    )
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    shown = metadata["image/png"]
    assert picture.size == (shown["width"], shown["height"])
    assert MIME in data


def test_plain_players_in_the_place_of_widgets(monkeypatch, sent):
    monkeypatch.setenv("MSSEDU_LISTENING", "plain")
    data, _ = ABSwitch(two(), 8000, blind=True)._repr_mimebundle_()
    assert set(data) == {"text/plain", "text/html"}
    assert data["text/html"].count("<audio") == 2
    assert "aria-label='A'" in data["text/html"]
    assert not sent


def test_another_way_to_show_is_refused(monkeypatch):
    monkeypatch.setenv("MSSEDU_LISTENING", "html")
    with pytest.raises(InputError, match=r"MSSEDU_LISTENING.*html"):
        ABSwitch(two(), 8000)


def test_sounds_and_facts():
    given = two()
    widget = ABSwitch(given, 8000)
    assert widget.sample_rate == 8000
    assert widget.seconds == 0.1
    torch.testing.assert_close(widget.sounds["b"], given["b"])
    widget.sounds.clear()  # a copy
    assert len(widget.sounds) == 2


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_a_script_is_short_and_imports_what_it_uses(file):
    text = file.read_text("utf-8")
    assert text.startswith("/* ")  # its purpose
    assert len(text.splitlines()) <= 250
    for names, source in re.findall(r'^import {(.*)} from "./(.*)";', text, re.M):
        exported = (file.parent / source).read_text("utf-8")
        for name in names.replace(" ", "").split(","):
            assert re.search(rf"^export (async )?\w+ {name}\b", exported, re.M), name
            assert len(re.findall(rf"\b{name}\b", text)) > 1, name


def test_the_page_is_one_module_without_imports():
    module = joined("timeline.js", "player.js")
    assert "import " not in [line[:7] for line in module.splitlines()]
    assert module.count("\nexport default") == 1
    assert "http" not in module.replace("http://www.w3.org", "")  # nothing is fetched


@pytest.mark.parametrize(
    "name", ["ABSwitch", "ListeningTest", "MaskLab", "Player", "StemMixer"]
)
def test_every_widget_is_a_public_name(name):
    # A listening test is a box, with a new widget for each of its pages.
    kind = ipywidgets.VBox if name == "ListeningTest" else ListeningWidget
    assert issubclass(getattr(mssedu.listening, name), kind)
