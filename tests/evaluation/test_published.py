"""The published table: complete rows, known numbers, definitions never mixed."""

from dataclasses import replace

import pytest
import torch

from mssedu.data.track import Track
from mssedu.evaluation.published import (
    AGGREGATIONS,
    STEMS,
    UNSTATED,
    published_beside,
    published_scores,
    published_table,
)
from mssedu.evaluation.run import evaluate
from mssedu.metrics.table import METRICS
from mssedu.reports.tables import render, texts

ROWS = published_scores()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.system)
def test_each_row_says_what_it_is(row):
    assert row.definition in {*METRICS, UNSTATED}
    assert row.definition in {*AGGREGATIONS, UNSTATED}
    assert row.domain in ("spectrogram", "waveform", "both", "oracle")
    assert 2018 <= row.year <= 2026
    assert row.test
    assert row.source
    assert row.checked.split(";")[0] in ("files", "text", "quoted")
    assert row.mean is not None or row.scores["vocals"] is not None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.system)
def test_means_are_those_of_the_stems(row):
    """Rounding of four numbers and of the mean; one paper prints another mean."""
    scores = [score for score in row.scores.values() if score is not None]
    if len(scores) == 4 and row.mean and row.system != "Sparse HT Demucs f.t.":
        assert row.mean == pytest.approx(sum(scores) / 4, abs=0.025)


def test_the_numbers_that_everybody_knows():
    means = {
        (row.system, row.extra): round(row.mean, 1)
        for row in ROWS
        if row.definition == "csdr" and row.mean
    }
    assert means["Wave-U-Net M6", ""] == 3.2
    assert means["Open-Unmix (umx)", ""] == 5.3
    assert means["Conv-TasNet (X=10)", ""] == 5.7
    assert means["Spleeter, 4 stems, Wiener filter", "25,000 songs"] == 5.9
    assert means["Demucs (v2)", ""] == 6.3
    assert means["Hybrid Demucs (v3)", ""] == 7.7
    assert means["HT Demucs f.t. (v4)", "800 songs"] == 9.0
    assert means["BSRNN", ""] == 8.2
    assert means["BS-RoFormer (6 layers)", ""] == 9.8


def test_listening_tests_are_told_apart():
    mos = {row.system: row.mos for row in ROWS if row.mos and not row.extra}
    assert mos["Hybrid Demucs (v3)"] == "2.83 / 3.04 (2021)"
    assert mos["Open-Unmix (umx)"] == "3.0 / 3.3 (2019)"
    assert {text[-6:] for text in mos.values()} == {"(2019)", "(2021)"}


def test_a_leak_is_flagged_and_another_test_set_named(yours):
    leaks = [row for row in ROWS if "LEAK" in row.extra]
    assert [row.system for row in leaks] == ["Hybrid Demucs (v3), mdx_extra_q"]
    lines = {line[0]: line[1:3] for line in beside(yours, "csdr")[1]}
    assert lines[leaks[0].system] == ("MUSDB18-HQ", "LEAK: trained on the test set")
    tests = {line[1] for line in beside(yours, "usdr")[1] if "yours" not in line[0]}
    assert tests == {"MUSDB18-HQ", "Multisong"}


def test_systems_of_low_latency_have_rows_that_compare_with_nothing(yours):
    found = {row.system: row.mean for row in ROWS if row.definition == UNSTATED}
    assert found["RT-STT, causal, under 1 million parameters"] == 5.17
    for metric in ("usdr", "csdr", "si_sdr"):
        assert not {line[0] for line in beside(yours, metric)[1]} & {*found}


def test_no_row_twice():
    keys = [(row.system, row.extra, row.test, row.definition) for row in ROWS]
    assert len(set(keys)) == len(keys)


def test_the_whole_table_names_the_definition_of_each_row():
    table = published_table()
    assert len(table) == len(ROWS)
    assert {*table["definition"]} == {"csdr", "usdr", "nsdr", "si_sdr", "sdr"}
    assert {*published_table("usdr")["definition"]} == {"usdr"}
    assert "Hybrid Demucs (v3)" in render(table, "latex")
    assert [*table][-2:] == ["checked", "source"]
    assert [*published_table(sources=False)] == [*table][:-2]


def beside(evaluation, metric):
    """Titles and cells as they are printed."""
    head, rows = texts(published_beside(evaluation, metric))
    return head, [tuple(row) for row in rows]


@pytest.fixture(scope="module")
def yours():
    """Three tracks of noise, scored by what others use, and by what none does."""
    songs = []
    for number in range(3):
        audio = torch.randn(4, 1, 9000, generator=torch.Generator().manual_seed(number))
        sources = dict(zip(STEMS, audio, strict=True))
        songs.append(Track.from_audio(f"song {number}", sources, 8000))
    metrics = ("usdr", "csdr", "si_sdr")
    return evaluate(None, songs, metrics=metrics, rows=("silence", "irm"))


def test_beside_yours_stand_rows_of_your_definition_only(yours):
    head, lines = beside(yours, "usdr")
    assert head[0] == "usdr, mean of tracks"
    assert [line[0] for line in lines[:3]] == ["yours: silence", "yours: irm", "MDX23C"]
    assert lines[0][1:] == ("3 tracks", "", "0.00", "0.00", "0.00", "0.00", "0.00")
    assert not any("Open-Unmix" in line[0] for line in lines)
    head, lines = beside(yours, "csdr")
    assert head[0] == "csdr, median of tracks"
    median = yours.median("csdr", "irm", "drums")
    assert lines[1][3] == f"{median:.2f}"
    (line,) = [line for line in lines if line[0] == "HT Demucs f.t. (v4)"]
    assert line[1:] == (
        "MUSDB18-HQ",
        "800 songs",
        "10.08",
        "10.39",
        "6.32",
        "9.20",
        "9.00",
    )
    names = [line[0] for line in beside(yours, "si_sdr")[1]]
    assert names[2:] == ["HT Demucs (v4), measured anew"]
    assert published_beside(yours, "mae").empty


def test_columns_are_yours(yours):
    two = replace(yours, stems=("vocals", "pipa"), rows=())
    lines = {line[0]: line[3:] for line in beside(two, "csdr")[1]}
    assert lines["Hybrid Demucs (v3)"] == ("8.13", "–", "–")  # no mean of four
    assert "Demucs (v1)" not in lines  # only its mean was published
    none = replace(yours, stems=("dizi", "pipa"), rows=())
    assert published_beside(none, "csdr").empty
