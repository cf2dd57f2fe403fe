"""The page of an error analysis stands alone: players that decode, pictures, text."""

import base64
import re

import pytest
import torch

from mssedu.audio.tensors import load_audio
from mssedu.data.track import Track
from mssedu.evaluation import error_analysis
from mssedu.evaluation.error_analysis import analyze_errors
from mssedu.evaluation.estimates import FunctionEstimates
from mssedu.reports.errors import write_analysis

RATE = 16000
STEMS = ("voice", "band")


@pytest.fixture(scope="module")
def analysis():
    """Two songs; in "One <&>" the band is in the voice from 3 to 4 s."""
    torch.manual_seed(0)
    noise = 0.3 * torch.rand(2, 2, 1, 5 * RATE) - 0.15
    tracks = [
        Track.from_audio(name, dict(zip(STEMS, sound, strict=True)), RATE)
        for name, sound in zip(("One <&>", "Two"), noise, strict=True)
    ]

    def separated(track):
        estimate = track.sources() + 1e-3 * torch.randn(2, 1, 5 * RATE)
        if track.name != "Two":
            estimate[0, :, 3 * RATE : 4 * RATE] += 10 * track.stem("band", 3, 1)
        return estimate

    estimates = FunctionEstimates(separated, STEMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(error_analysis, "N_STRETCHES", 1)
        return analyze_errors(estimates, tracks, n_worst=2)


@pytest.fixture(scope="module")
def page(analysis, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_analysis(path, analysis, title="A <page>", facts={"model": "mine"})
    return path.read_text("utf-8")


def sounds_in(html, tmp_path):
    """Label -> (audio, rate) of every player."""
    found = {}
    for label, data in re.findall(
        r'aria-label="([^"]+)" src="data:audio/mpeg;base64,([^"]+)"', html
    ):
        file = tmp_path / "sound.mp3"
        file.write_bytes(base64.b64decode(data))
        found[label] = load_audio(file)
    return found


def test_everything_is_inside(page):
    assert "<h1>A &lt;page&gt;</h1>" in page
    assert "One &lt;&amp;&gt;" in page
    assert "<&>" not in page
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in re.sub(r"base64,[^\"]+", "", page)
    # bleed, level; a spectrogram each; the worst song's curves and bleed
    assert page.count("<img") == 2 + 2 + 2
    assert page.count("data:image/png;base64,iVBOR") == 6
    assert "<td>mine</td>" in page


def test_the_worst_excerpt_comes_first_with_its_cause(page, analysis):
    worst = analysis.worst[0]
    text = page.partition("<h3>1. ")[2]
    assert text.startswith("voice of One &lt;&amp;&gt;, 0:03.0 to 0:04.0</h3>")
    assert f"usdr {worst.usdr:.1f} dB, mostly bleed from band" in text
    assert f"bleed from band {worst.bleed_db:.1f} dB" in text
    assert worst.usdr == pytest.approx(-20, abs=0.5)


def test_players_hold_the_sounds_at_one_joint_gain(page, analysis, tmp_path):
    found = sounds_in(page, tmp_path)
    assert len(found) == 2 * 4 + 3
    assert "11 players" in page
    stretch = analysis.worst[0].stretch.sounds
    error = stretch["estimate"] - stretch["reference"]
    loudest = float(stretch["estimate"].abs().max())
    assert loudest > 1.3  # so that a gain is needed
    place = "voice of One &lt;&amp;&gt;, 0:03.0 to 0:04.0"
    for label, sound in {**stretch, "error": error}.items():
        audio, rate = found[f"{place}, {label}"]
        assert (audio.shape, rate) == (sound.shape, RATE)
        level = audio.square().mean().sqrt() / sound.square().mean().sqrt()
        assert float(level) == pytest.approx(1 / loudest, rel=0.15)
    assert re.search(r"All sounds play \d\.\d dB softer", page)


def test_only_the_worst_songs_are_drawn_but_all_are_listed(page):
    assert page.count("<h3>") == 2 + 1
    assert "<h3>One &lt;&amp;&gt;</h3>" in page
    assert "<h3>Two</h3>" not in page
    folded = page.partition("<details>")[2]
    assert "Each song (2)" in folded
    assert "<td>Two</td>" in folded


def test_its_size_is_told(page):
    told = float(re.search(r"([\d.]+) MB, \d+ players", page).group(1))
    assert told == pytest.approx(len(page) / 1e6, abs=0.06)


def test_more_songs_hardly_make_it_longer(analysis, tmp_path):
    def size(found):
        path = tmp_path / "report.html"
        return write_analysis(path, found, title="T", facts={}).stat().st_size

    one = size(analysis)
    two = analysis.tracks[1]
    many = error_analysis.ErrorAnalysis(
        STEMS, RATE, (*analysis.tracks, *20 * [two]), analysis.worst
    )
    assert size(many) < one + 20_000


def test_without_excerpts(analysis, tmp_path):
    none = error_analysis.ErrorAnalysis(STEMS, RATE, analysis.tracks, ())
    path = write_analysis(tmp_path / "report.html", none, title="T", facts={})
    assert "The 0 worst excerpts" in path.read_text("utf-8")
