"""`mssedu evaluate`, `compare` and `published` as a user meets them."""

import csv
import io
import json

import pytest
import torch

from mssedu.audio.tensors import save_audio
from mssedu.cli import commands as cli
from mssedu.cli import evaluate as evaluate_command
from mssedu.evaluation.result import load_evaluation

STEMS = ("vocals", "drums", "bass", "other")
QUICK = ("--metrics", "usdr", "--rows", "silence", "model")


def run(*args):
    return cli.main([str(arg) for arg in args])


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Three songs of a test split, one of valid, and the truth with noise on it."""
    root = tmp_path_factory.mktemp("data")
    generator = torch.Generator().manual_seed(0)
    for number, split in enumerate(("test", "test", "test", "valid")):
        for stem in STEMS:
            audio = torch.rand(2, 44100, generator=generator) - 0.5
            for place, noise in (
                ("songs", 0),
                ("good", 0.01),
                ("bad", 0.1 + number / 30),
            ):
                name = f"song {number}/{stem}.wav"
                path = root / place / (split if place == "songs" else "") / name
                path.parent.mkdir(parents=True, exist_ok=True)
                save_audio(path, 0.9 * audio + noise * audio.roll(7, -1), 44100)
    return root / "songs"


def theirs(songs, which, *flags):
    """The command that scores the stems of another program."""
    command = ("evaluate", songs, "--split", "test", *QUICK)
    return (*command, "--estimates", songs.parent / which, *flags)


# ---- evaluate -----------------------------------------------------------------------


def test_a_model_is_scored_saved_and_drawn(model, songs, tmp_path, capsys):
    folder, figure = tmp_path / "run", tmp_path / "figures" / "scores.png"
    command = ("evaluate", songs, "-m", model, "--split", "test", "--tracks", 2)
    command = (*command, "--metrics", "usdr", "csdr", "--overlap", 0.1)
    assert run(*command, "-o", folder, "--figure", figure) == 0
    seen = capsys.readouterr()
    text = " ".join(seen.out.split())
    for word in ("usdr, dB", "csdr, dB", "mean of tracks", "median of tracks", "irm"):
        assert word in text
    assert "2 tracks: too few for an interval." in text
    assert "evaluation.json" in seen.err
    found = load_evaluation(folder)
    assert list(found.tracks) == ["song 0", "song 1"]
    assert found.about["estimates"]["settings"]["overlap"] == 0.1
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_second_time_is_read_and_a_change_is_said(model, songs, tmp_path, capsys):
    folder = tmp_path / "run"
    command = ("evaluate", songs, "-m", model, "--split", "valid", *QUICK)
    assert run(*command, "-o", folder) == 0
    before = (folder / "tracks" / "song 3.json").stat().st_mtime_ns
    assert run(*command, "-o", folder) == 0
    assert (folder / "tracks" / "song 3.json").stat().st_mtime_ns == before
    assert "computed again" not in capsys.readouterr().err
    assert run(*command, "-o", folder, "--overlap", 0.5) == 0
    assert (
        "song 3: computed again: estimates.settings.overlap" in capsys.readouterr().err
    )


def test_stems_of_any_program(songs, capsys):
    assert run(*theirs(songs, "good", "--format", "csv")) == 0
    text = capsys.readouterr().out
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == 2 * 3 * 4  # rows, aggregations, stems
    (line,) = [
        line
        for line in lines
        if (line["row"], line["stem"]) == ("model", "bass")
        and line["aggregation"] == "mean of tracks"
    ]
    assert float(line["low"]) < float(line["value"]) < float(line["high"])
    assert line["n_tracks"] == "3"


def test_a_reader_that_stops_early_loses_nothing(songs, tmp_path, monkeypatch, capsys):
    def closed(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr(evaluate_command.out, "print", closed)
    assert run(*theirs(songs, "good", "-o", tmp_path)) == 141
    assert "Traceback" not in capsys.readouterr().err
    assert load_evaluation(tmp_path).n_silent("bass") == 0


@pytest.mark.parametrize(
    ("form", "start"), [("markdown", "| usdr, dB |"), ("latex", r"\begin{tabular}")]
)
def test_formats(form, start, songs, capsys):
    assert run(*theirs(songs, "good", "--format", form)) == 0
    assert capsys.readouterr().out.startswith(start)


def test_published_scores_stand_below_yours(songs, capsys):
    assert run(*theirs(songs, "good", "--published", "--format", "markdown")) == 0
    text = capsys.readouterr().out
    assert "| yours: model | 3 tracks |" in text
    assert "| SCNet, open weights | MUSDB18-HQ | no |" in text
    assert "Hybrid Demucs (v3) |" not in text  # by csdr only
    assert "Yours are other songs" in text
    command = ("evaluate", songs, "--rows", "irm", "--metrics", "snr", "--published")
    assert run(*command) == 0
    assert "Nothing is published by snr" in " ".join(capsys.readouterr().out.split())


def test_museval_files(songs, tmp_path):
    flags = ("--museval", "--tracks", 1, "-o", tmp_path)
    assert run(*theirs(songs, "good", *flags)) == 0
    document = json.loads((tmp_path / "museval" / "test" / "song 0.json").read_text())
    assert len(document["targets"]) == 4


def test_oracles_need_no_model(songs, capsys):
    command = ("evaluate", songs, "--split", "valid", "--metrics", "usdr")
    assert run(*command, "--rows", "ibm", "irm", "mwf", "--stems", "drums", "bass") == 0
    text = capsys.readouterr().out
    assert "mwf" in text
    assert "vocals" not in text


def test_some_stems_of_any_program(songs, capsys):
    assert run(*theirs(songs, "good", "--stems", "vocals", "--format", "csv")) == 0
    stems = {
        line["stem"] for line in csv.DictReader(io.StringIO(capsys.readouterr().out))
    }
    assert stems == {"vocals"}


def test_mistakes_are_told_before_anything_is_computed(model, songs, tmp_path, capsys):
    def fails(*args):
        assert run(*args) == 2
        return capsys.readouterr().err

    assert "in place of a model" in fails(*theirs(songs, "good", "-m", model))
    assert "-o FOLDER" in fails(*theirs(songs, "good", "--museval"))
    assert "tracks" in fails(*theirs(songs, "good", "--tracks", 0))
    assert ".png, .pdf, .svg" in fails(*theirs(songs, "good", "--figure", "x.doc"))
    file = tmp_path / "scores.json"
    file.write_text("{}")
    for option in ("-o", "--save-stems"):
        for place in (file, file / "below"):
            said = fails(*theirs(songs, "good", option, place))
            assert f"{place}: nothing can be written there" in said
    folder = tmp_path / "scores.png"
    folder.mkdir()
    for figure, said in ((folder, f"{folder} is a folder"), (file / "a.png", file)):
        assert str(said) in fails(*theirs(songs, "good", "--figure", figure))
    assert "Did you mean 'usdr'" in fails(*theirs(songs, "good", "--metrics", "usd"))
    assert "no folder of estimates" in fails(*theirs(songs, "none"))
    empty = tmp_path / "empty"
    (empty / "notes").mkdir(parents=True)
    assert "notes" in fails("evaluate", empty, "--rows", "irm")  # what is there
    assert run(*theirs(songs, "good", "--template", "{stem}/{track}.wav")) == 1
    assert "no estimates at" in capsys.readouterr().err


# ---- compare ------------------------------------------------------------------------


@pytest.fixture
def runs(songs, tmp_path):
    for which in ("good", "bad"):
        assert run(*theirs(songs, which, "-o", tmp_path / which)) == 0
    return tmp_path / "bad", tmp_path / "good"


def test_runs_are_compared(runs, capsys):
    capsys.readouterr()
    assert run("compare", *runs, "--format", "csv") == 0
    text = capsys.readouterr().out
    table = [line for line in text.splitlines() if not line.startswith("#")]
    lines = list(csv.DictReader(table))
    assert [line["stem"] for line in lines] == list(STEMS)
    assert all(float(line["difference"]) > 5 for line in lines)
    assert {line["p"] for line in lines} == {"0.250"}  # the best that three songs can
    assert "Too few tracks: with 3 that differ" in text
    assert run("compare", *runs) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[2].split()[:3] == ["good", "vocals", "3"]
    assert "Differences are run − bad (the baseline)" in text


def test_other_songs_are_refused_unless_common(runs, songs, capsys):
    assert run(*theirs(songs, "good", "--tracks", 2, "-o", runs[1])) == 0
    assert run("compare", *runs) == 2
    assert "only one has song 2" in capsys.readouterr().err
    assert run("compare", *runs, "--common") == 0


def test_runs_that_are_none(runs, capsys):
    assert run("compare", runs[0]) == 2
    assert "at least two runs" in capsys.readouterr().err
    assert run("compare", runs[0], runs[0]) == 2
    assert "not different" in capsys.readouterr().err
    assert run("compare", runs[0], runs[0].parent) == 2
    assert "no such file" in capsys.readouterr().err
    assert run("compare", *runs, "--metric", "csdr") == 2
    assert "unknown metric 'csdr'" in capsys.readouterr().err


# ---- published ----------------------------------------------------------------------


def test_the_table_of_the_field(capsys):
    assert run("published", "--format", "markdown") == 0
    text = capsys.readouterr().out
    assert "| Hybrid Demucs (v3) | 2021 | both | no | MUSDB18-HQ | csdr |" in text
    assert "2.83 / 3.04 (2021)" in text
    assert run("published") == 0
    text = capsys.readouterr().out
    (line,) = [
        line for line in text.splitlines() if line.startswith("Hybrid Demucs (v3)  ")
    ]
    # in one line, however narrow the terminal is
    cells = "2021 both no MUSDB18-HQ csdr 8.24 8.76 5.59 8.13 7.68 2.83 / 3.04 (2021)"
    assert line.split()[3:] == cells.split()
    assert "Sources: mssedu published --format markdown" in text
    assert run("published", "--definition", "nsdr", "--format", "csv") == 0
    assert "MDXDB21" in capsys.readouterr().out
    assert run("published", "--definition", "sir") == 2
    assert "unknown definition" in capsys.readouterr().err


def test_stems_are_kept_for_a_listening_test(songs, model, tmp_path, capsys):
    words = ("evaluate", songs, "--split", "test", *QUICK, "--tracks", "2")
    for name in ("one", "two"):
        stems = ("--save-stems", tmp_path / name)
        assert run(*words, "--model", model, *stems) == 0
    runs = (tmp_path / "one", tmp_path / "two")
    options = ("--data", songs, "--split", "test", "--tracks", "2", "--seconds", "0.9")
    assert run("listen", "create", *runs, *options, "-o", tmp_path / "test") == 0
    assert "2 trials of one, two, reference" in capsys.readouterr().out
    assert run(*theirs(songs, "good", "--save-stems", tmp_path / "no")) == 2
    assert "Leave the folder for stems out." in " ".join(
        capsys.readouterr().err.split()
    )
