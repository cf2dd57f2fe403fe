"""Many songs: the worst of all come first, and only they keep their sound."""

import json

import pytest
import torch

from mssedu.data.track import Track
from mssedu.errors import DatasetError, InputError
from mssedu.evaluation import error_analysis
from mssedu.evaluation.error_analysis import analyze_errors
from mssedu.evaluation.estimates import FunctionEstimates
from mssedu.metrics.ratios import usdr

RATE = 8000
STEMS = ("voice", "band")
NOISE = {"good": 0.001, "middling": 0.03, "bad": 0.3}


@pytest.fixture
def tracks():
    return [
        Track.from_audio(name, {s: 0.1 * torch.randn(1, 5 * RATE) for s in STEMS}, RATE)
        for name in NOISE
    ]


def separated(track):
    sources = track.sources()
    return sources + 0.1 * NOISE[track.name] * torch.randn(sources.shape)


@pytest.fixture
def analysis(tracks):
    return analyze_errors(FunctionEstimates(separated, STEMS), tracks, n_worst=4)


def test_the_worst_of_all_songs_come_first(analysis):
    assert len(analysis.worst) == 4
    assert {excerpt.track for excerpt in analysis.worst[:2]} == {"bad"}
    scores = [excerpt.usdr for excerpt in analysis.worst]
    assert scores == sorted(scores)
    assert scores[0] == pytest.approx(10.5, abs=1)
    assert "good" not in {excerpt.track for excerpt in analysis.worst}


def test_every_song_has_its_numbers(analysis, tracks):
    assert [track.name for track in analysis.tracks] == list(NOISE)
    for found in analysis.tracks:
        score = -20 * torch.tensor(NOISE[found.name]).log10()
        assert found.usdr.tolist() == pytest.approx(2 * [float(score)], abs=0.3)
        assert found.windows.usdr.shape == (2, 9)


def test_only_the_worst_songs_keep_a_stretch(tracks, monkeypatch):
    monkeypatch.setattr(error_analysis, "N_STRETCHES", 1)
    found = analyze_errors(FunctionEstimates(separated, STEMS), tracks[::-1])
    kept = [track.name for track in found.tracks if track.stretch]
    assert kept == ["bad"]


def test_medians_of_songs(analysis):
    errors = torch.stack([t.bleed.of_errors()[[0, 1, 3], :2] for t in analysis.tracks])
    torch.testing.assert_close(analysis.of_errors(), errors.median(0).values)
    middle = analysis.tracks[1]
    torch.testing.assert_close(
        analysis.of_sources(middle), middle.bleed.of_sources()[:2, :2]
    )
    summary = analysis.summary().set_index("stem")
    assert list(summary.index) == list(STEMS)
    score = summary.loc["voice", "usdr of songs"]
    assert score == pytest.approx(float(middle.usdr[0]), abs=1e-3)
    lost, bleed, artifacts = analysis.of_errors()[:, 0].tolist()
    energies = ["lost", "largest bleed", "artifacts"]
    assert summary.loc["voice", energies].tolist() == [lost, bleed, artifacts]


def test_a_stem_that_is_silent_in_all_songs(tracks):
    quiet = [
        Track.from_audio(
            t.name, {"voice": t.stem("voice"), "band": torch.zeros(1, 5 * RATE)}, RATE
        )
        for t in tracks
    ]
    found = analyze_errors(FunctionEstimates(separated, STEMS), quiet)
    assert {excerpt.stem for excerpt in found.worst} == {"voice"}
    assert found.of_sources()[1].isnan().all()
    assert found.summary().set_index("stem").loc["band"].isna().all()


def test_a_model_of_one_stem_is_seen_against_the_rest(tracks):
    voice = FunctionEstimates(lambda track: 0.9 * track.mixture()[None], ("voice",))
    found = analyze_errors(voice, tracks)
    assert found.sources == ("voice", "rest")
    assert found.of_sources()[:, 0].tolist() == pytest.approx(2 * [-0.915], abs=0.01)
    assert found.of_errors().shape == (3, 2)


def test_the_rest_is_not_shown_where_there_is_none(analysis):
    assert analysis.sources == STEMS
    assert analysis.of_sources().shape == (2, 2)
    assert analysis.of_errors().shape == (3, 2)


def test_saved_numbers(analysis, tmp_path):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    path = analysis.save(tmp_path / "errors.json")
    saved = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    assert list(saved["tracks"]) == list(NOISE)
    bad, found = saved["tracks"]["bad"], analysis.tracks[2]
    assert bad["usdr"] == pytest.approx(found.usdr.tolist(), abs=1e-3)
    assert bad["windows"]["audible"] == found.windows.audible.tolist()
    assert [one["usdr"] for one in saved["worst"]] == [w.usdr for w in analysis.worst]
    assert saved["bleed_db"][0][0] == pytest.approx(0, abs=0.1)


def test_progress_is_told(tracks):
    calls = []
    found = analyze_errors(
        FunctionEstimates(separated, STEMS),
        tracks,
        n_worst=0,
        progress=lambda *call: calls.append(call),
    )
    assert calls == [(0, 3, "good"), (1, 3, "middling"), (2, 3, "bad"), (3, 3, "")]
    assert found.worst == ()


def test_scores_are_those_of_the_metric(analysis, tracks):
    torch.manual_seed(5)
    (found,) = analyze_errors(FunctionEstimates(separated, STEMS), tracks[:1]).tracks
    torch.manual_seed(5)
    estimate = separated(tracks[0])
    score = usdr(reference=tracks[0].sources(), estimate=estimate)
    torch.testing.assert_close(found.usdr, score)


def test_what_it_refuses(tracks):
    estimates = FunctionEstimates(separated, STEMS)
    with pytest.raises(DatasetError, match="tracks is empty"):
        analyze_errors(estimates, [])
    with pytest.raises(InputError, match="n_worst"):
        analyze_errors(estimates, tracks, n_worst=-1)
    with pytest.raises(InputError, match="flute"):
        analyze_errors(FunctionEstimates(separated, ("flute",)), tracks)
    short = FunctionEstimates(lambda track: track.sources()[..., :-1], STEMS)
    with pytest.raises(InputError, match="good"):
        analyze_errors(short, tracks)
    sound = tracks[0].sources()
    sound[1, 0, RATE] = torch.nan
    bad = Track.from_audio("bad", dict(zip(STEMS, sound, strict=True)), RATE)
    with pytest.raises(InputError, match=r"bad, band.*1\.000 s"):
        analyze_errors(estimates, [bad])
