"""Parts of HTML pages: they stand alone, and play what they were given."""

import base64
import re

import pytest
import torch
from matplotlib.figure import Figure

from mssedu.audio.tensors import load_audio
from mssedu.reports.page import (
    facts_table,
    gain_note,
    html_table,
    joint_gain,
    picture,
    player,
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
    html = player(tone, RATE, 'the "voice"', bitrate=bitrate)
    assert 'aria-label="the &quot;voice&quot;"' in html
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


def test_joint_gain_fits_the_loudest_in(tone):
    assert joint_gain([]) == 1
    assert joint_gain([tone]) == 1
    sounds = [tone, 4 * tone]
    gain = joint_gain(sounds)
    assert gain == pytest.approx(0.5)
    assert max(float((gain * sound).abs().max()) for sound in sounds) <= 1
    assert gain_note(1.0) == ""
    assert "6.0 dB softer" in gain_note(gain)


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
