"""The HTML report stands alone: players that decode, pictures, every score."""

import base64
import re

import pytest
import torch
from matplotlib.figure import Figure

from mssedu.audio.tensors import load_audio
from mssedu.reports.demo import Page, write_report

RATE = 44100


@pytest.fixture
def page():
    time = torch.arange(RATE) / RATE
    tone = torch.sin(2 * torch.pi * 440 * time).repeat(2, 1)
    return Page(
        title="A <song>",
        summary="What & how",
        definition="usdr",
        rows={"silence": {"voice": 0.0}, "model": {"voice": None}},
        mixture=1.2 * tone,
        estimates={"voice": 0.3 * tone},
        references={"voice": 0.6 * tone},
        sample_rate=RATE,
        figures={"A picture": Figure()},
        facts={"machine": "this one"},
    )


def test_everything_is_inside(page, tmp_path):
    text = write_report(tmp_path / "report.html", page).read_text("utf-8")
    assert "A &lt;song&gt;" in text
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert text.count("<audio") == 3
    assert "<td>0.00</td>" in text
    assert "<td>silent</td>" in text
    assert "this one" in text


def test_players_hold_the_sounds_at_one_joint_gain(page, tmp_path):
    text = write_report(tmp_path / "report.html", page).read_text("utf-8")
    peaks = []
    for data in re.findall(r"data:audio/mpeg;base64,([^\"]+)", text):
        file = tmp_path / "sound.mp3"
        file.write_bytes(base64.b64decode(data))
        audio, rate = load_audio(file)
        assert (audio.shape, rate) == ((2, RATE), RATE)
        peaks.append(float(audio[:, 5000:-5000].abs().max()))
    assert peaks == pytest.approx([1.0, 0.25, 0.5], abs=0.03)
    assert "1.6 dB softer" in text
