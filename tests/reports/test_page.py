"""Parts of HTML pages: they stand alone, and play what they were given."""

import base64
import re

import pytest
import torch
from matplotlib.figure import Figure

from mssedu.audio.tensors import load_audio
from mssedu.reports.page import (
    Players,
    facts_table,
    heading,
    html_table,
    paragraph,
    picture,
    write_page,
)

RATE = 44100


@pytest.fixture
def tone():
    time = torch.arange(RATE) / RATE
    return 0.5 * torch.sin(2 * torch.pi * 440 * time).repeat(2, 1)


def data_in(html):
    return base64.b64decode(re.search(r"base64,([^\"]+)", html).group(1))


@pytest.mark.parametrize("bitrate", [None, 128])
def test_a_player_plays_the_sound(tone, tmp_path, bitrate):
    html = Players([tone], RATE, bitrate).row({"voice": tone}, 'the "song"')
    assert 'aria-label="the &quot;song&quot;, voice"' in html
    assert "<figcaption>voice</figcaption>" in html
    file = tmp_path / "sound.mp3"
    file.write_bytes(data_in(html))
    audio, rate = load_audio(file)
    assert (audio.shape, rate) == (tone.shape, RATE)
    inside = slice(5000, -5000)
    assert (audio - tone)[:, inside].abs().max() < 0.04
    if bitrate:  # one second
        assert file.stat().st_size == pytest.approx(bitrate * 1000 / 8, rel=0.1)


def test_a_picture_has_its_caption():
    html = picture("A <caption>", Figure())
    assert data_in(html).startswith(b"\x89PNG")
    assert html.count("A &lt;caption&gt;") == 2  # read out, and printed


def test_one_gain_lowers_all_sounds_so_that_the_loudest_fits(tone):
    assert Players([], RATE).gain == Players([tone], RATE).gain == 1
    sounds = [tone, 4 * tone]
    players = Players(sounds, RATE)
    assert players.gain == pytest.approx(0.5)
    assert max(float((players.gain * sound).abs().max()) for sound in sounds) <= 1
    assert Players([tone], RATE).note == ""
    assert "6.0 dB softer" in players.note


def test_players_are_counted(tone):
    players = Players([tone], RATE)
    assert players.row({"a": tone, "b": tone}, "song").count("<audio") == 2
    players.row({"c": tone}, "song")
    assert players.n == 3


def test_headings_and_paragraphs_show_plain_text():
    assert heading("A & B", 3) == "<h3>A &amp; B</h3>"
    assert paragraph("a < b") == "<p>a &lt; b</p>"
    assert paragraph("a", note=True) == '<p class="note">a</p>'
    assert paragraph("") == ""


def test_write_page(tmp_path):
    parts = ["<h1>Heading</h1>", facts_table({"a & b": "<c>"})]
    path = write_page(tmp_path / "page.html", "A & B", parts, style=".mine {}")
    text = path.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert "<title>A &amp; B</title>" in text
    assert "<td>a &amp; b</td><td>&lt;c&gt;</td>" in text
    assert ".mine {}</style>" in text
    assert "color-scheme: light dark" in text
    assert text.endswith("</body></html>")


def test_a_table_shows_its_texts_as_they_are():
    made = html_table(("a", "b"), [("<c>", "d & e")])
    assert "<tr><th>a</th><th>b</th></tr>" in made
    assert "<tr><td>&lt;c&gt;</td><td>d &amp; e</td></tr>" in made
    made = html_table(("a",), [("x",), ("y",)], bold="y")
    assert '<tr><td>x</td></tr><tr class="bold"><td>y</td></tr>' in made
