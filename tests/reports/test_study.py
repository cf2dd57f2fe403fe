"""The report of a claim: words that the interval allows, and files that are whole."""

from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame

from mssedu.errors import InputError
from mssedu.evaluation.claims import Study, judge
from mssedu.evaluation.protocol import Protocol
from mssedu.evaluation.variance import split_variance
from mssedu.reports.study import (
    CHECKLIST,
    methods_text,
    seeds_sentence,
    study_sentence,
    study_table,
    variance_table,
    variant_difference,
    write_study,
)
from mssedu.training.grid import read_grid

CAPSTONE = Path(__file__).resolve().parents[2] / "recipes" / "capstone"
RULES = {
    "claim": "Two directions beat one by 0.5 dB & more.",
    "grid": "grid.toml",
    "data": "songs",
    "split": "test",
    "metric": "usdr",
    "stems": ("dizi",),
    "baseline": "one",
    "changed": "two",
    "least": 0.5,
    "margin": 0.25,
    "confidence": 0.95,
    "unit": "A song.",
    "exclusions": "None.",
    "stopping": "All runs do 2 steps.",
    "sha256": "ab" * 32,
}
FACTS = {
    "title": "Directions_and 100 %",
    "command": "mssedu ablate grid.toml DATA --protocol protocol.toml",
    "date": "2026-01-02",
    "difference": {"model.bidirectional": (False, True)},
    "seeds": [0, 1],
    "variants": {
        name: {
            "parameters": 1234,
            "gflops_per_second": 0.5,
            "hours_per_run": 0.2,
            "processor_hours_per_run": 0.25,
        }
        for name in ("one", "two")
    },
    "environment": {"processor": "a processor", "threads": 1, "torch": "2.0"},
    "commit": "f" * 40,
}


def study(gain, spread=0.05):
    """Twelve songs of two variants with two seeds."""
    draw = np.random.default_rng(0)
    songs = draw.normal(3, 4, 12)
    rows = [
        (variant, seed, f"song {number:02}", "dizi", float(value))
        for variant in ("one", "two")
        for seed in (0, 1)
        for number, value in enumerate(
            songs + gain * (variant == "two") + spread * draw.normal(size=12)
        )
    ]
    columns = ["variant", "seed", "song", "stem", "score"]
    return Study(Protocol(**RULES), DataFrame(rows, columns=columns), FACTS)


@pytest.mark.parametrize(
    ("gain", "spread", "words", "claim"),
    [
        (1.0, 0.05, "is better than", "supported"),
        (-1.0, 0.05, "is worse than", "refuted"),
        (0.0, 0.05, "is equal within ± 0.25 dB to", "refuted"),
        (-1.4, 3.0, "may be better or worse than, or equal to,", "open"),
    ],
)
def test_the_sentence_says_what_the_interval_allows(gain, spread, words, claim):
    one = study(gain, spread)
    found = judge(one.differences().mean(axis=1).tolist(), one.protocol)
    sentence = study_sentence(one, found)
    assert f"“two” {words} “one”" in sentence
    assert sentence.endswith(f"The claim of 0.5 dB or more is {claim}.")
    low, high = found.test.interval
    assert f"{low:+.2f}…{high:+.2f} dB over 12 songs" in sentence


def test_seeds_that_could_reverse_the_result_are_named():
    calm, wild = study(1.0), study(1.0)
    assert seeds_sentence(calm).endswith("It excludes 0.")
    shift = 4.0 * ((wild.rows.seed == 1) & (wild.rows.variant == "two"))
    wild.rows["score"] += shift
    assert "other seeds could reverse the result" in seeds_sentence(wild)


def test_the_tables_have_the_scores():
    one = study(1.0)
    table = study_table(one)
    for _, row in table.iterrows():
        scores = one.table(row.variant)
        assert row["usdr, dB"] == pytest.approx(scores.to_numpy().mean())
        assert row["seed 1"] == pytest.approx(scores[1].mean())
    shares = variance_table(split_variance(one.differences().to_numpy()))
    assert shares.part.tolist() == ["songs", "seeds", "residual"]


def test_the_methods_are_filled_in():
    text = methods_text(study(1.0))
    for part in (
        "model.bidirectional: False → True",
        "2 seeds",
        "1.00 processor hours",
    ):
        assert part in text
    assert "All runs do 2 steps. All runs together" in text
    assert "Protocol abababababab, commit ffffffffffff, 2026-01-02." in text


def test_the_report_is_whole(tmp_path):
    one = study(1.0)
    paths = write_study(one, tmp_path / "report")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {*paths}
    text = paths["report.md"].read_text("utf-8")
    assert text.startswith("# Directions_and 100 %\n\n**Claim.** Two directions")
    assert all(f"- [ ] {line}" in text for line in CHECKLIST)
    assert "1. " in text
    assert "8. " in text
    assert FACTS["command"] in text
    latex = paths["report.tex"].read_text("utf-8")
    assert r"Directions\_and 100 \%" in latex
    assert r"0.5 dB \& more" in latex
    assert latex.count("{") == latex.count("}")
    cited = {part.partition("}")[0] for part in latex.split(r"\cite{")[1:]}
    keys = paths["references.bib"].read_text("utf-8")
    assert cited
    assert all(f"{{{key}," in keys for key in cited)
    assert paths["differences.pdf"].read_bytes().startswith(b"%PDF")


def test_the_grids_of_the_capstone_differ_in_one_setting():
    for name in ("two_directions.toml", "own_two_directions.toml"):
        grid = read_grid(CAPSTONE / name)
        found = variant_difference(grid, "one direction", "two directions")
        assert found == {"model.bidirectional": (False, True)}
    with pytest.raises(InputError, match="variant 'three directions'"):
        variant_difference(grid, "one direction", "three directions")


def test_a_planted_second_difference_is_found(tmp_path):
    for name in ("two_directions.toml", "one_target.toml"):
        text = (CAPSTONE / name).read_text("utf-8")
        planted = "model.bidirectional = true\nlevel_db = -20.0"
        text = text.replace("model.bidirectional = true", planted)
        (tmp_path / name).write_text(text, "utf-8")
    grid = read_grid(tmp_path / "two_directions.toml")
    found = variant_difference(grid, "one direction", "two directions")
    assert found["level_db"] == (None, -20.0)
    assert len(found) == 2
