"""The demo keeps its promise: it learns real music in minutes, and reports it truly."""

import json

import pytest

from mssedu.audio import load_audio
from mssedu.datasets.layouts import demo_data, load_track
from mssedu.demo import run_demo
from mssedu.metrics import usdr

STEMS = ("vocals", "drums", "bass", "other")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("demo"))


@pytest.mark.slow
def test_the_model_beats_silence_and_the_mixture(demo):
    rows = json.loads((demo.folder / "scores.json").read_text())["rows"]
    assert list(rows) == ["silence", "mixture", "model", "irm"]
    for stem in ("drums", "bass"):
        best_of_nothing = max(rows["silence"][stem], rows["mixture"][stem])
        assert rows["model"][stem] >= best_of_nothing + 2.0
    for stem in STEMS:
        assert rows["model"][stem] >= rows["silence"][stem]
        assert rows["irm"][stem] > rows["model"][stem]


@pytest.mark.slow
def test_the_scores_are_those_of_the_stems_on_disk(demo):
    document = json.loads((demo.folder / "scores.json").read_text())
    assert document["track"] == "Sodium"
    song = load_track(demo_data() / "test" / "Sodium")
    for stem in STEMS:
        estimate, rate = load_audio(demo.folder / "stems" / f"{stem}.wav")
        assert (rate, estimate.shape) == (44100, (2, song.n_samples))
        score = float(usdr(reference=song.stem(stem), estimate=estimate))
        assert score == pytest.approx(document["rows"]["model"][stem], abs=1e-3)
        mixture = float(usdr(reference=song.stem(stem), estimate=song.mixture()))
        assert mixture == pytest.approx(document["rows"]["mixture"][stem], abs=1e-3)


@pytest.mark.slow
def test_report_and_figures_are_there(demo):
    text = (demo.folder / "report.html").read_text("utf-8")
    scores = json.loads((demo.folder / "scores.json").read_text())
    for stem in STEMS:
        assert f"{scores['rows']['model'][stem]:.2f}" in text
    assert text.count("<audio") == 9
    assert len(list((demo.folder / "figures").glob("*.png"))) == 2
