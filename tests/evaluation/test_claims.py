"""Protocols that cannot be changed later, scores that fit them, and verdicts."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from mssedu.errors import DatasetError, InputError
from mssedu.evaluation.claims import (
    excerpts_by_rule,
    judge,
    load_study,
    verdict_word,
)
from mssedu.evaluation.protocol import check_same_protocol, read_protocol
from mssedu.evaluation.statistics import equivalence_p
from mssedu.evaluation.variance import split_variance

PROTOCOL = """
claim = "B beats A by 0.5 dB or more."
grid = "grid.toml"
data = "songs"
split = "test"
metric = "usdr"
stems = ["dizi", "pipa"]
baseline = "a"
changed = "b"
least = 0.5
margin = 0.25
confidence = 0.95
unit = "A song."
exclusions = "None."
stopping = "All runs do 2 steps."
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "protocol.toml").write_text(PROTOCOL, "utf-8")
    (tmp_path / "grid.toml").write_text('recipe = "recipe.toml"\n', "utf-8")
    (tmp_path / "recipe.toml").write_text('title = "T"\n', "utf-8")
    return tmp_path


def write_scores(folder, rows, sha256):
    head = "variant,seed,song,stem,score"
    (folder / "scores.csv").write_text("\n".join([head, *rows]) + "\n", "utf-8")
    facts = json.dumps({"protocol_sha256": sha256})
    (folder / "scores.json").write_text(facts, "utf-8")


def rows_of(score):
    return [
        f"{variant},{seed},{song},{stem},{score(variant, seed, song, stem)}"
        for variant in "ab"
        for seed in (0, 1)
        for song in ("x", "y", "z")
        for stem in ("dizi", "pipa")
    ]


# ---- protocol -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["protocol.toml", "grid.toml", "recipe.toml"])
def test_the_hash_follows_all_three_texts(folder, name):
    before = read_protocol(folder / "protocol.toml")
    text = (folder / name).read_text("utf-8")
    (folder / name).write_bytes(text.replace("\n", "\r\n").encode())
    assert read_protocol(folder / "protocol.toml") == before
    (folder / name).write_text(text + "# one more word\n", "utf-8")
    after = read_protocol(folder / "protocol.toml")
    assert after.sha256 != before.sha256
    assert after.rules == before.rules
    with pytest.raises(InputError, match="rules that are chosen after the scores"):
        check_same_protocol(after, before.sha256, "scores.csv")


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('claim = "', 'clam = "', r"Did you mean 'claim'"),
        ("margin = 0.25\n", "", "margin is missing"),
        ("margin = 0.25", "margin = 0", "margin must be"),
        ("confidence = 0.95", "confidence = 95", "confidence must be"),
        ('changed = "b"', 'changed = "a"', "compares two variants"),
        ('stems = ["dizi", "pipa"]', "stems = []", "at least one stem"),
        ('grid = "grid.toml"', 'grid = "none.toml"', "cannot be read"),
        ("least = 0.5", "least = ", "is not TOML"),
    ],
)
def test_wrong_protocols_are_named(folder, old, new, error):
    text = (folder / "protocol.toml").read_text("utf-8")
    assert old in text
    (folder / "protocol.toml").write_text(text.replace(old, new), "utf-8")
    with pytest.raises(InputError, match=error):
        read_protocol(folder / "protocol.toml")


# ---- study --------------------------------------------------------------------------


def test_a_song_is_the_mean_of_its_stems_and_needs_all_of_them(folder):
    protocol = read_protocol(folder / "protocol.toml")

    def score(variant, seed, song, stem):
        if (variant, seed, song, stem) == ("b", 1, "z", "pipa"):
            return ""
        value = {"x": 1.0, "y": 5.0, "z": 9.0}[song] + 10 * (stem == "pipa")
        return value + (seed + 1) * (variant == "b")

    write_scores(folder, rows_of(score), protocol.sha256)
    study = load_study(protocol, folder)
    assert study.table("a").to_dict() == {0: {"x": 6.0, "y": 10.0}} | {
        1: {"x": 6.0, "y": 10.0}
    }
    differences = study.differences()
    assert differences.to_dict() == {0: {"x": 1.0, "y": 1.0}, 1: {"x": 2.0, "y": 2.0}}
    with pytest.raises(InputError, match="variant 'c'"):
        study.table("c")


def test_scores_that_do_not_fit_are_refused(folder):
    protocol = read_protocol(folder / "protocol.toml")
    rows = rows_of(lambda *_: 1.0)
    with pytest.raises(DatasetError, match="holds no scores of a study"):
        load_study(protocol, folder)
    write_scores(folder, rows, "0" * 64)
    with pytest.raises(InputError, match="belongs to a protocol with the hash 000000"):
        load_study(protocol, folder)
    write_scores(folder, rows[:-2], protocol.sha256)
    with pytest.raises(InputError, match="other songs or seeds"):
        load_study(protocol, folder)
    renamed = [row.replace("pipa", "zheng") for row in rows]
    write_scores(folder, renamed, protocol.sha256)
    with pytest.raises(InputError, match="'zheng'"):
        load_study(protocol, folder)
    (folder / "scores.json").write_text("{}", "utf-8")
    with pytest.raises(DatasetError, match="protocol_sha256 is missing"):
        load_study(protocol, folder)


# ---- verdict ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shift", "spread", "word", "claim"),
    [
        (1.0, 0.1, "better", "supported"),
        (0.5, 0.5, "better", "open"),
        (-1.0, 0.1, "worse", "refuted"),
        (0.1, 0.01, "equal", "refuted"),
        (0.0, 2.0, "unknown", "open"),
    ],
)
def test_the_words_follow_the_interval(folder, shift, spread, word, claim):
    protocol = read_protocol(folder / "protocol.toml")
    values = np.linspace(-1, 1, 15) * spread + shift
    found = judge(values, protocol)
    assert (found.word, found.claim) == (word, claim)
    assert found.test.difference == pytest.approx(shift)
    assert found.equivalence_p == equivalence_p(values, 0.25)


def test_a_wider_confidence_has_a_wider_interval(folder):
    text = PROTOCOL.replace("0.95", "0.99")
    narrow = read_protocol(folder / "protocol.toml")
    (folder / "protocol.toml").write_text(text, "utf-8")
    wide = read_protocol(folder / "protocol.toml")
    values = np.random.default_rng(0).normal(0.3, 1, 20)
    ends = [judge(values, p).test.interval for p in (narrow, wide)]
    assert ends[1][0] < ends[0][0] < ends[0][1] < ends[1][1]
    with pytest.raises(InputError, match="number of songs"):
        judge([1.0, 2.0], narrow)


def test_touching_the_margin_is_not_inside():
    assert verdict_word(-0.25, 0.1, 0.25) == "unknown"
    assert verdict_word(-0.1, 0.25, 0.25) == "unknown"
    assert verdict_word(0.1, 0.2, 0.25) == "equal"  # real, and too small to matter


def test_excerpts_have_the_worst_and_the_best_and_do_not_depend_on_the_order():
    differences = {f"song {n}": float((7 * n) % 20) for n in range(20)}
    chosen = excerpts_by_rule(differences, 5)
    assert [differences[song] for song in chosen] == [0, 5, 10, 14, 19]
    assert excerpts_by_rule(dict(reversed(differences.items())), 5) == chosen
    with pytest.raises(InputError, match="number of songs"):
        excerpts_by_rule({"a": 1.0, "b": 2.0}, 3)


# ---- equivalence and variances ------------------------------------------------------


def test_two_one_sided_tests_are_those_of_scipy():
    for seed, shift in ((0, 0.1), (1, -0.3), (2, 0.9)):
        values = np.random.default_rng(seed).normal(shift, 0.5, 12)
        low = stats.ttest_1samp(values, -0.5, alternative="greater").pvalue
        high = stats.ttest_1samp(values, 0.5, alternative="less").pvalue
        assert equivalence_p(values, 0.5) == pytest.approx(max(low, high))
    assert equivalence_p([0.1, 0.1], 0.2) == 0
    assert equivalence_p([0.3, 0.3], 0.2) == 1
    with pytest.raises(InputError, match="margin"):
        equivalence_p([0.1, 0.2], 0)
    with pytest.raises(InputError, match="number of differences"):
        equivalence_p([0.1], 0.5)


def test_equality_is_rarely_found_where_there_is_a_difference_of_the_margin():
    draw = np.random.default_rng(3)
    found = [equivalence_p(draw.normal(0.5, 1, 20), 0.5) < 0.05 for _ in range(1000)]
    assert 0.03 < np.mean(found) < 0.07


def test_variances_that_were_put_in_come_out():
    draw = np.random.default_rng(0)
    splits = []
    for _ in range(300):
        table = 3 + 2 * draw.normal(size=(25, 1)) + 0.5 * draw.normal(size=(1, 4))
        splits.append(split_variance(table + 0.8 * draw.normal(size=(25, 4))))
    assert np.mean([s.song for s in splits]) == pytest.approx(4.0, rel=0.05)
    assert np.mean([s.seed for s in splits]) == pytest.approx(0.25, rel=0.15)
    assert np.mean([s.residual for s in splits]) == pytest.approx(0.64, rel=0.05)


def test_the_standard_error_is_that_of_the_mean():
    split = split_variance([[1.0, 1.2], [5.0, 5.2], [3.0, 3.2]])
    assert split.standard_error(3, 2) == pytest.approx(math.sqrt(4 / 3 + 0.02 / 2))
    assert split.standard_error(300, 2) < split.standard_error(3, 200)
    assert sum(split.shares.values()) == pytest.approx(1)
    with pytest.raises(InputError, match="at least 1"):
        split.standard_error(0, 1)
    with pytest.raises(InputError, match="two or more of each"):
        split_variance([[1.0, 2.0]])
    with pytest.raises(InputError, match="finite"):
        split_variance([[1.0, 2.0], [3.0, math.nan]])
