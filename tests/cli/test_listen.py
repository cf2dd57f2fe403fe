"""`mssedu listen`: a test made, answered, reported and exported from the shell."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import tyro

from mssedu.audio.tensors import save_audio
from mssedu.cli.listen import listen, named_run
from mssedu.errors import AudioFileError, InputError, MssEduWarning
from mssedu.listening.results.export import content_sha256, write_json
from mssedu.listening.results.simulate import sit_through
from mssedu.listening.test.design import load_design
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore

QUALITY = {"good": 80.0, "bad": 20.0, "reference": 100.0, "anchor35": 5.0}
RATE = 16000


def run(*words):
    return tyro.cli(listen, args=[str(word) for word in words])


@pytest.fixture
def songs(tmp_path):
    for folder in ("data", "good", "bad"):
        for number, song in enumerate(("One", "Two")):
            path = tmp_path / folder / song / "vocals.wav"
            path.parent.mkdir(parents=True)
            generator = torch.Generator().manual_seed(number)
            audio = 0.1 * torch.randn(1, RATE, generator=generator)
            save_audio(path, audio, RATE, subtype="float32")
    return tmp_path


def make(songs, *words):
    folder = songs / "test"
    systems = (songs / "good", songs / "bad")
    options = ("--data", songs / "data", "-o", folder, "--anchors", "anchor35")
    assert run("create", *systems, *options, *words) == 0
    return folder


def test_from_folders_to_report(songs, capsys):
    folder = make(songs, "--seed", "3", "--n-replicates", "1")
    design = load_design(folder)
    assert design.stimuli == tuple(QUALITY)
    assert (design.seed, design.n_replicates) == (3, 1)
    said = capsys.readouterr().out
    assert "of good, bad, reference, anchor35; 3 pages for each listener" in said
    assert "With 5 listeners no difference can be significant" in said
    with ResultStore(folder / "results.sqlite", design) as store:
        for _ in range(3):
            sit_through(Session(store), QUALITY)
    assert run("report", folder, "--usdr") == 0
    page = (folder / "report" / "report.html").read_text("utf-8")
    assert "Mean ratings against usdr of the same 4 excerpts" in page
    assert run("export", folder) == 0
    rows = (folder / "results" / "mushra.csv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + 3 * (2 + 1) * 4
    document = json.loads((folder / "results" / "results.json").read_text("utf-8"))
    assert len(document["listeners"]) == 3


def test_results_of_another_machine_are_merged(songs, capsys):
    folder = make(songs)
    design = load_design(folder)
    with ResultStore(songs / "other.sqlite", design) as store:
        sit_through(Session(store), QUALITY)
    elsewhere = songs / "elsewhere"
    elsewhere.mkdir()
    (folder / "test.toml").rename(elsewhere / "test.toml")
    (songs / "other.sqlite").rename(elsewhere / "results.sqlite")
    assert run("export", elsewhere) == 0
    (elsewhere / "test.toml").rename(folder / "test.toml")
    file = elsewhere / "results" / "results.json"
    capsys.readouterr()
    assert run("export", folder, "--merge", file) == 0
    assert "1 listener from" in capsys.readouterr().out
    assert run("report", folder, "-o", songs / "page") == 0
    assert (songs / "page" / "report.html").exists()
    assert run("report", folder, "-o", songs / "page") == 0  # its own, again


def answered(design, path):
    """A results file of one listener elsewhere."""
    with ResultStore(":memory:", design) as store:
        sit_through(Session(store), QUALITY)
        return write_json(store, path)


def test_one_bad_file_stops_neither_the_others_nor_the_export(songs, capsys):
    folder = make(songs)
    design = load_design(folder)
    good, bad, forged, junk, other = (songs / f"{n}.json" for n in "abcde")
    answered(replace(design, seed=9), other)
    answered(design, good)
    bad.write_text(
        answered(design, bad).read_text().replace('"plays": 1', '"plays": 2')
    )
    document = json.loads(answered(design, forged).read_text("utf-8"))
    document["ratings"][0]["score"] = 1e9
    document["sha256"] = content_sha256(document)
    forged.write_text(json.dumps(document))
    junk.write_text("<html>")
    capsys.readouterr()
    files = (bad, forged, junk, other, songs / "none.json", good)
    assert run("export", folder, "--merge", *files) == 1
    said = capsys.readouterr()
    assert f"1 listener from {good}" in said.out
    reasons = {bad: "was changed", junk: "no results", forged: "score"}
    for path, reason in (reasons | {other: "another test"}).items():
        (line,) = [line for line in said.err.splitlines() if str(path) in line]
        assert line.startswith("refused")
        assert reason in line
    assert "none.json" in said.err
    rows = (folder / "results" / "mushra.csv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + 3 * 4
    assert run("export", folder, "--merge", good) == 0
    assert "0 listeners from" in (out := capsys.readouterr().out)
    assert "and 1 known before" in out


def test_a_spoiled_listener_is_named_and_the_others_are_reported(songs, capsys):
    folder = make(songs)
    with ResultStore(folder / "results.sqlite", load_design(folder)) as store:
        bad, good = Session(store), Session(store)
        for session in (bad, good):
            sit_through(session, QUALITY)
    with contextlib.closing(sqlite3.connect(folder / "results.sqlite")) as db, db:
        db.execute(
            "UPDATE heard SET seconds = 9e999 WHERE listener = ?", [bad.listener]
        )
    capsys.readouterr()
    for command in ("report", "export"):
        assert run(command, folder) == 1
        said = capsys.readouterr()
        assert f"left out listener '{bad.listener}': page 1: heard must be" in said.err
        assert good.listener not in said.err
    assert "2 began, 1 rated" in (folder / "report" / "report.html").read_text("utf-8")


def test_a_report_without_screening(songs):
    folder = make(songs)
    with ResultStore(folder / "results.sqlite", load_design(folder)) as store:
        sit_through(Session(store), {**QUALITY, "reference": 21.0})
    with pytest.warns(MssEduWarning, match=r"excludes all listeners \(1\)"):
        assert run("report", folder) == 0
    assert run("report", folder, "--no-screening") == 0
    assert "no screening" in (folder / "report" / "report.html").read_text("utf-8")


def test_a_question_with_a_slash_has_its_table(songs):
    """The test was made by an older version, and has answers."""
    folder = make(songs)
    text = (folder / "test.toml").read_text("utf-8")
    head, _, rest = text.partition("quality = ")
    (folder / "test.toml").write_text(f'{head}"../../x" = {rest}', "utf-8")
    with ResultStore(folder / "results.sqlite", load_design(folder)) as store:
        sit_through(Session(store), QUALITY)
    assert run("report", folder) == 0
    assert run("report", folder) == 0  # its own files, again
    names = {path.name for path in (folder / "report").iterdir()}
    (table,) = [name for name in names if name.endswith(".tex")]
    assert names == {"report.html", "ratings.pdf", table, ".mssedu-listen"}
    assert {path.name for path in songs.iterdir()} == {"data", "good", "bad", "test"}


def test_seconds_that_the_standard_does_not_allow(songs):
    for path in songs.rglob("*.wav"):
        save_audio(path, torch.zeros(1, 13 * RATE), RATE)
    words = ("--data", songs / "data", "-o", songs / "test", "--seconds", "600")
    with pytest.raises(InputError, match="at most 12 s"):
        run("create", songs / "good", songs / "bad", *words)
    assert not (songs / "test").exists()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("report",), "report.html"),
        (("report",), "ratings.pdf"),
        (("export",), "results.json"),
        (("export", "--html"), "test.html"),
    ],
)
def test_files_of_other_origin_are_left_alone(songs, words, name):
    folder, thesis = make(songs), songs / "thesis"
    thesis.mkdir()
    (thesis / name).write_text("mine")
    (thesis / "thesis.tex").write_text("mine too")
    command, *flags = words
    with pytest.raises(InputError, match=f"has a {name}"):
        run(command, folder, *flags, "-o", thesis)
    assert (thesis / name).read_text() == "mine"
    assert sorted(path.name for path in thesis.iterdir()) == sorted(
        [name, "thesis.tex"]
    )


def test_a_preference_test_without_data(songs, capsys):
    folder = songs / "votes"
    words = ("--test", "2afc", "-o", folder, "--n-repetitions", "4")
    assert run("create", songs / "good", songs / "bad", *words) == 0
    design = load_design(folder)
    assert design.n_repetitions == 4
    said = capsys.readouterr().out
    assert "2 trials of good, bad; 8 pages for each listener" in said
    assert "With 8 answers to each pair" in said
    with ResultStore(folder / "results.sqlite", design) as store:
        sit_through(Session(store), QUALITY)
    with pytest.raises(InputError, match="reference, which usdr needs"):
        run("report", folder, "--usdr")


def test_scores_are_not_compared_with_choices(songs):
    folder = songs / "heard"
    words = ("--data", songs / "data", "--test", "abx", "-o", folder)
    assert run("create", songs / "good", *words) == 0
    with ResultStore(folder / "results.sqlite", load_design(folder)) as store:
        sit_through(Session(store), QUALITY)
    assert run("report", folder) == 0
    with pytest.raises(InputError, match="abx has choices and no ratings"):
        run("report", folder, "--usdr")


def test_anchors_without_a_reference_name_the_flag_that_adds_it(songs):
    words = ("--anchors", "anchor35", "-o", songs / "test")
    with pytest.raises(InputError, match="--data SONGS, or leave out the anchors"):
        run("create", songs / "good", songs / "bad", *words)


def test_a_test_that_has_lost_a_sound_is_not_served(songs):
    folder = make(songs)
    (folder / "sounds" / "2" / "system1.wav").unlink()
    with pytest.raises(AudioFileError, match=r"system1\.wav does not exist"):
        run("serve", folder, "--port", "0", "--no-open-browser")


def test_an_export_says_how_much_there_is_and_what_is_missing(songs, capsys):
    folder = make(songs)
    missing = songs / "none.json"
    capsys.readouterr()
    assert run("export", folder, "--merge", missing) == 1
    said = capsys.readouterr()
    assert "mushra.csv, 0 ratings" in said.out.replace("\n", "")
    assert "none.json does not exist. Choose a file" in said.err


def test_a_system_is_named_on_the_command_line(songs):
    folder = songs / "test"
    words = (f"ours={songs / 'good'}", f"reference-free={songs / 'bad'}")
    assert run("create", *words, "--data", songs / "data", "-o", folder) == 0
    assert load_design(folder).conditions == ("ours", "reference-free")


def test_runs_of_the_same_folder_name_can_be_named(songs):
    (songs / "a").mkdir()
    (songs / "b").mkdir()
    first = (songs / "good").rename(songs / "a" / "best")
    second = (songs / "bad").rename(songs / "b" / "best")
    words = ("--data", songs / "data", "-o", songs / "test")
    with pytest.raises(InputError, match=r"\['best', 'best'\]\. .* NAME=FOLDER"):
        run("create", first, second, *words)
    assert not (songs / "test").exists()
    assert run("create", first, f"b={second}", *words) == 0
    assert load_design(songs / "test").conditions == ("best", "b")


@pytest.mark.parametrize("name", ["reference", "mixture", "anchor35", "Reference"])
def test_a_run_with_a_name_of_the_test_is_refused(songs, name):
    taken = (songs / "bad").rename(songs / name)
    words = ("--data", songs / "data", "-o", songs / "test")
    with pytest.raises(InputError, match=rf"\['{name}'\]\. .* NAME=FOLDER"):
        run("create", songs / "good", taken, *words)
    assert not (songs / "test").exists()
    assert run("create", songs / "good", f"theirs={taken}", *words) == 0
    assert load_design(songs / "test").conditions == ("good", "theirs")


def test_names_and_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named_run("runs/a") == ("a", Path("runs/a"))
    assert named_run("ours=runs/a") == ("ours", Path("runs/a"))
    assert named_run("ours=runs/lr=0.1") == ("ours", Path("runs/lr=0.1"))
    assert named_run("runs/lr=0.1") == ("lr=0.1", Path("runs/lr=0.1"))
    assert named_run("ours=~/a") == ("ours", tmp_path / "a")
    Path("lr=0.1").mkdir()
    assert named_run("lr=0.1") == ("lr=0.1", Path("lr=0.1"))
    for text in ("ours=", "=runs/a", " =runs/a"):
        with pytest.raises(InputError, match="is not NAME=FOLDER"):
            named_run(text)


def test_the_test_as_one_file(songs, capsys):
    folder = make(songs)
    capsys.readouterr()
    assert run("export", folder, "--html", "-o", songs / "mail" / "it") == 0
    assert "for any browser" in capsys.readouterr().out
    page = (songs / "mail" / "it" / "test.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert not (songs / "mail" / "it" / "mushra.csv").exists()


def test_a_link_is_served_until_ctrl_c(songs):
    folder = make(songs)
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from mssedu.cli.commands import main; sys.exit(main())"
    )
    words = ("listen", "serve", str(folder), "--port", "0", "--no-open-browser")
    run = subprocess.Popen(
        [sys.executable, "-u", "-c", code, *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    try:
        link = run.stdout.readline().split()[-1]
        assert "results.sqlite" in run.stdout.readline()
        cookies = urllib.request.HTTPCookieProcessor()
        with urllib.request.build_opener(cookies).open(link) as answer:
            assert answer.status == 200
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 0
    finally:
        run.kill()
        run.wait()
        run.stdout.close()


def test_a_port_that_is_taken(songs):
    folder = make(songs)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match="--port 0"):
            run("serve", folder, "--port", port, "--no-open-browser")


def test_errors(songs):
    with pytest.raises(InputError, match="upper and lower case"):
        run("create", songs / "good", songs / "." / "good")
    with pytest.raises(InputError, match="tracks"):
        run("create", songs / "good", "--tracks", "0")
    with pytest.raises(InputError, match="runs"):
        run("create")


def test_help_is_light():
    """Neither torch nor matplotlib is loaded for it."""
    program = (
        "import sys, tyro\nfrom mssedu.cli.listen import listen\n"
        "try: tyro.cli(listen, args=sys.argv[1:])\n"
        "finally: print(sorted({'torch', 'matplotlib', 'pandas'} & {*sys.modules}))"
    )
    for words in (["--help"], ["create", "--help"]):
        answer = subprocess.run(
            [sys.executable, "-c", program, *words], capture_output=True, text=True
        )
        assert answer.stdout.splitlines()[-1] == "[]"
        assert "create" in answer.stdout


def test_a_port_out_of_range_is_named(tmp_path):
    with pytest.raises(InputError, match="port must be from 0 to 65535, got 99999"):
        run("serve", tmp_path, "--port", 99999)
