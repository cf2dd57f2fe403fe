"""Comparisons: paired, honest about few tracks, and never of two definitions."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest

from mssedu.errors import InputError
from mssedu.evaluation.comparison import (
    compare,
    comparison_note,
    comparison_table,
    p_text,
)
from mssedu.evaluation.statistics import holm, paired_test
from tests.evaluation.test_result import evaluation, track
from tests.evaluation.test_result import without_voice as gap


def run_of(gain, n=12, seed=0):
    """Hard and easy songs; `gain` dB better in voice, on average."""
    draw = np.random.default_rng(seed)
    hard = np.random.default_rng(99).normal(6, 3, n)
    voices = hard + gain + draw.normal(0, 0.3, n)
    rests = hard + draw.normal(0, 0.3, n)
    return evaluation(
        *(track(f"{i:02}", voices[i], rests[i]) for i in range(n)),
    )


@pytest.fixture
def runs():
    return {"old": run_of(0.0), "new": run_of(1.0, seed=1)}


def test_pairs_see_what_means_hide(runs):
    voice, rest = compare(runs)
    assert (voice.run, voice.stem, rest.stem) == ("new", "voice", "rest")
    old, new = (run.by_track("usdr", "model", "voice") for run in runs.values())
    expected = paired_test([*old.values()], [*new.values()])
    assert voice.test == expected
    assert voice.p_holm == pytest.approx(holm([expected.p, rest.test.p])[0])
    assert voice.test.interval[0] > 0.5
    assert voice.p_holm < 0.01 < 0.05 < rest.p_holm
    assert voice.mean - voice.baseline_mean == pytest.approx(voice.test.difference)


def test_several_runs_are_compared_with_the_first(runs):
    found = compare({**runs, "best": run_of(2.0, seed=2)})
    assert [(one.run, one.stem) for one in found] == [
        ("new", "voice"),
        ("new", "rest"),
        ("best", "voice"),
        ("best", "rest"),
    ]
    assert [one.p_holm for one in found] == holm([one.test.p for one in found])


def test_the_table_and_its_note(runs):
    found = compare(runs)
    line = comparison_table(found, "usdr").iloc[0]
    assert (line["stem"], line["tracks"]) == ("voice", 12)
    assert line["difference"] == found[0].test.difference > 0
    low, high = found[0].test.interval
    assert line["95 % interval"] == f"{low:+.2f}…{high:+.2f}"
    note = comparison_note(runs, found)
    assert "run − old" in note
    assert "all 2 tests" in note
    assert "Too few" not in note


def test_few_tracks_are_told_what_they_cannot_show():
    runs = {"a": run_of(0.0, n=5), "b": run_of(5.0, n=5, seed=1)}
    found = compare(runs)
    assert min(one.test.p for one in found) == 0.0625  # the best that five can do
    note = comparison_note(runs, found)
    assert "with 5 that differ (voice) p cannot fall below 0.062" in note
    assert "with Holm 0.125" in note


def test_equal_runs_have_no_effect_size():
    runs = {"a": run_of(0.0), "b": run_of(0.0)}
    line = comparison_table(compare(runs), "usdr").iloc[0]
    assert (line["p"], line["r"]) == ("1.000", 0.0)
    assert math.isnan(line["d_z"])


def test_tracks_without_a_score_are_left_out_in_pairs():
    old = evaluation(track("a", 1.0, 1.0), track("b", None, 2.0, leak=-20.0))
    new = evaluation(track("a", 2.0, 1.5), track("b", None, 2.5, leak=-30.0))
    runs = {"old": old, "new": new}
    voice, rest = compare(runs)
    assert (voice.test.n, rest.test.n) == (1, 2)
    table = comparison_table([voice, rest], "usdr")
    assert table["95 % interval"].isna().all()
    assert "new has 2 tracks" in comparison_note(runs, [voice, rest])


def test_only_songs_in_which_both_have_the_stem_are_paired():
    old = evaluation(track("a", 1.0, 1.0), track("b", 3.0, 2.0), gap("c", 3.0))
    new = evaluation(track("a", 2.0, 1.5), gap("b", 2.5), track("c", 9.0, 4.0))
    runs = {"old": old, "new": new}
    voice, rest = compare(runs)
    assert (voice.test.n, voice.baseline_mean, voice.mean) == (1, 1.0, 2.0)
    assert (rest.test.n, rest.baseline_mean, rest.mean) == (3, 2.0, 8 / 3)
    joint = {name: changed(run, joint=True) for name, run in runs.items()}
    with pytest.raises(InputError, match="absent from b, c, and usdr depends on all"):
        compare(joint)


# ---- what is refused ----------------------------------------------------------------


def changed(run, **fields):
    definitions = copy.deepcopy(run.definitions)
    definitions["metrics"]["usdr"] |= fields
    return replace(run, definitions=definitions)


def test_other_definitions_and_versions(runs):
    runs["new"] = changed(runs["new"], version=2)
    with pytest.raises(InputError, match=r"old and new .*metric\.version: 1, now 2"):
        compare(runs)
    runs["new"] = changed(runs["new"], version=1, definition="other words")
    with pytest.raises(InputError, match=r"metric\.definition: words, now other words"):
        compare(runs)


def test_aligned_scores_and_other_rates(runs):
    new = runs["new"]
    runs["new"] = replace(new, definitions={**new.definitions, "align": True})
    with pytest.raises(InputError, match="align: False, now True"):
        compare(runs)
    runs["new"] = replace(new, about={**new.about, "sample_rate": 16000})
    with pytest.raises(InputError, match="sample_rate: 44100, now 16000"):
        compare(runs)


def test_other_audio_under_the_same_name(runs):
    tracks = dict(runs["new"].tracks)
    tracks["03"] = replace(tracks["03"], audio_sha256="another")
    runs["new"] = replace(runs["new"], tracks=tracks)
    with pytest.raises(InputError, match="audio under the same name: 03"):
        compare(runs, common=True)


def test_other_tracks_unless_common(runs):
    tracks = [t for name, t in runs["new"].tracks.items() if name > "04"]
    runs["new"] = evaluation(*tracks)
    with pytest.raises(InputError, match="only one has 00, 01, 02 and 2 more"):
        compare(runs)
    assert {one.test.n for one in compare(runs, common=True)} == {7}
    runs["new"] = evaluation(track("another", 1.0, 1.0))
    with pytest.raises(InputError, match="no track in which both have usdr"):
        compare(runs, common=True)


def test_other_stems_unless_common_and_independent(runs):
    runs["new"] = replace(runs["new"], stems=("voice",))
    with pytest.raises(InputError, match="stems: only one has rest"):
        compare(runs)
    assert [one.stem for one in compare(runs, common=True)] == ["voice"]
    joint = {name: changed(run, joint=True) for name, run in runs.items()}
    with pytest.raises(InputError, match="usdr depends on all stems"):
        compare(joint, common=True)


def test_one_run_and_unknown_names(runs):
    with pytest.raises(InputError, match="at least two runs, got 1"):
        compare({"old": runs["old"]})
    with pytest.raises(InputError, match="old: unknown metric"):
        compare(runs, "csdr")
    runs["new"] = replace(runs["new"], rows=("silence",))
    with pytest.raises(InputError, match="new: unknown row"):
        compare(runs)


def test_p_as_text():
    assert p_text(0.0004) == "<0.001"
    assert p_text(1.0) == "1.000"
