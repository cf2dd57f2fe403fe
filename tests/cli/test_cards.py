"""Several models in one table: mssedu card --all."""

import csv

import pytest

from mssedu.cli import cards
from mssedu.cli import commands as cli
from mssedu.inspect.costs import RECORD, Counts
from mssedu.reports.tables import render


def counts_of(name, quoted=None, there=None):
    return Counts(
        name=name,
        preset="paper",
        segment=10.0,
        n_parameters=58_782_684,
        flops=421_550_000_000,
        thop_macs=111_360_000_000,
        thop_parameters=53_570_000,
        thop_macs_of_record=there,
        quoted=quoted,
    )


ROWS = [
    counts_of("htdemucs_p", RECORD["htdemucs_p"], 89_140_000_000),
    counts_of("htdemucs_nn", RECORD["htdemucs_nn"], 111_360_000_000),
    counts_of("scnet"),
]


def test_a_row_has_the_record_beside_the_counts():
    table = cards.compared(ROWS, [(10**9, None)] * 3)
    assert "song, s" not in table
    text = render(table, "markdown", formats=cards.FORMATS)
    head, _, first, second, third = text.splitlines()
    assert len(head.split("|")) == 2 + len(table.columns)
    assert first == (
        "| htdemucs_p | paper | 58.78 | 421.6 | 111.36 | 53.57 | 89.14 | 53.57 | 8 "
        "| 89.14 | 1000 | 13.15 |"
    )
    assert second.count("–") == 4  # the record has no figures of nn
    assert third.count("–") == 5


def test_the_time_of_a_song_is_a_column_if_it_was_measured():
    table = cards.compared(ROWS, [(10**9, 3.0)] * 3)
    assert table["song, s"].tolist() == [3.0] * 3
    latex = render(table, "latex", formats=cards.FORMATS)
    assert r"htdemucs\_p & paper & 58.78 & 421.6" in latex


def test_all_models_of_a_pattern_are_counted_measured_and_drawn(tmp_path, capsys):
    words = [
        "--preset",
        "tiny",
        "--segment",
        "0.2",
        "--format",
        "csv",
        "--device",
        "cpu",
    ]
    words += ["--song", "0.5", "-o", str(tmp_path / "new" / "costs.pdf")]
    assert cli.main(["card", "--all", "htdemucs_n[cn]", *words]) == 0
    shown = capsys.readouterr().out
    lines = [line for line in shown.splitlines() if not line.startswith("#")]
    first, second = csv.DictReader(lines)
    assert [first["model"], second["model"]] == ["htdemucs_nc", "htdemucs_nn"]
    assert float(first["million parameters"]) == 0.65
    assert float(first["GFLOP"]) > 0
    assert float(first["song, s"]) > 0
    assert float(first["memory, MB"]) >= 3  # of the weights alone: 0.65 · 4
    assert first["record G"] == ""
    assert "2 FLOPs for each multiplication" in shown
    assert (tmp_path / "new" / "costs.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--all", "htdemux*"], "no model matches 'htdemux*'"),
        (["--all", "*nc", "-o", "costs.txt"], "format of a figure 'txt'"),
        (["--all", "*nc", "--song", "0"], "song must be from 0 to 3600"),
        (["--all", "*nc", "--segment", "0"], "segment must be from 0 to 3600"),
        ([], "give one model, or --all"),
        (["htdemucs", "--all", "*"], "give one model, or --all"),
        (["htdemucs", "--song", "3"], "need --all"),
    ],
    ids=str,
)
def test_mistakes_are_named(words, said, capsys):
    assert cli.main(["card", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
