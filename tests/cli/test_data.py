"""The commands `mssedu data …` as a user meets them: table, exit code, files."""

import errno
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mssedu.cli.commands import main
from mssedu.cli.data import SUBCOMMANDS
from mssedu.data.fetch import DATASETS, PublicDataset
from mssedu.data.loading import demo_data, load_dataset
from tests.file_server import serving

RATE = 8000


def run(*words):
    return main(["data", *map(str, words)])


@pytest.fixture
def song(tmp_path):
    """A song in a data set, without any fault."""
    folder = tmp_path / "set" / "song"
    folder.mkdir(parents=True)
    sounds = np.random.default_rng(0).standard_normal((2, 2 * RATE, 2)) * 0.05
    sounds[:, -100:] = 0
    for stem, sound in zip(("dizi", "pipa"), sounds, strict=True):
        sf.write(folder / f"{stem}.wav", sound, RATE)
    sf.write(folder / "mixture.wav", sounds.sum(0), RATE)
    return folder


def test_help_names_every_subcommand(capsys):
    with pytest.raises(SystemExit) as stop:
        run("--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for name in SUBCOMMANDS:
        assert f"• {name}" in text
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 2


def test_help_of_check_says_what_the_exit_code_means(capsys):
    with pytest.raises(SystemExit):
        run("check", "--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "exit code 1 if there are errors" in text
    assert "0 if there are only warnings and notes" in text


def test_the_demo_songs_are_without_fault(capsys):
    assert run("check", demo_data(), "--no-fingerprints") == 0
    text = capsys.readouterr().out
    assert "train/Caesium" in text
    assert "6 songs, layout splits: 0 errors, 0 warnings, 1 note" in text


def test_a_set_without_any_finding_has_no_table(song, capsys):
    assert run("check", song.parent) == 0
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert "1 song, layout songs: 0 errors, 0 warnings, 0 notes" in text


def test_errors_set_the_exit_code_and_are_listed_for_programs(song, tmp_path, capsys):
    sound, _ = sf.read(song / "dizi.wav")
    sf.write(song / "dizi.wav", -sound, RATE)
    file = tmp_path / "faults.json"
    assert run("check", song.parent, "--json", file) == 1
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if "polarity" in line)
    assert row.split()[:4] == ["song", "error", "polarity", "dizi"]
    assert "the sign of the mixture" in row
    assert "--fix OUT inverts it" in row
    document = json.loads(file.read_text("utf-8"))
    assert document["counts"] == {"error": 1, "warning": 0, "note": 0}
    (finding,) = document["findings"]
    assert (finding["rule"], finding["stems"]) == ("polarity", ["dizi"])
    assert finding["values"]["residual_db"] > 0
    (measured,) = document["songs"]
    assert (measured["sample_rate"], measured["samples"]) == (RATE, 2 * RATE)
    assert {each["stem"] for each in measured["files"]} == {"dizi", "pipa", "mixture"}


def test_warnings_count_if_strict(song, capsys):
    (song / "Thumbs.db").write_bytes(b"x")
    assert run("check", song.parent) == 0
    assert run("check", song.parent, "--strict") == 1
    assert "0 errors, 1 warning, 0 notes" in capsys.readouterr().out


def test_a_note_on_many_songs_is_one_line(song, capsys):
    for number in range(7):
        shutil.copytree(song, song.parent / f"copy {number}")
    for folder in song.parent.iterdir():
        sound, _ = sf.read(folder / "pipa.wav")
        sf.write(folder / "pipa.wav", 0 * sound, RATE)
        (folder / "mixture.wav").unlink()
    assert run("check", song.parent, "--no-fingerprints") == 0
    text = capsys.readouterr().out
    assert text.count("silence") == 1
    assert "and 7 more (--all lists them)" in text
    assert run("check", song.parent, "--no-fingerprints", "--all") == 0
    assert capsys.readouterr().out.count("silence") == 8


def test_fix_writes_a_copy(song, tmp_path, capsys):
    sound, _ = sf.read(song / "dizi.wav")
    sf.write(song / "dizi.wav", sound[:-100], RATE)
    out = tmp_path / "fixed"
    assert run("check", song.parent, "--fix", out, "--length", "pad") == 1
    assert "1 file changed, 0 left out, 0 faults not fixed" in capsys.readouterr().out
    assert json.loads((out / "repairs.json").read_text("utf-8"))["changed"]
    assert sf.info(out / "song" / "dizi.wav").frames == 2 * RATE
    assert run("check", song.parent, "--fix", out) == 2
    assert "is not an empty folder" in capsys.readouterr().err


def test_flags_of_the_copy_need_the_copy(song, capsys):
    assert run("check", song.parent, "--length", "pad") == 2
    assert "--length changes the copy" in capsys.readouterr().err
    assert run("check", song.parent, "--resample", 44100) == 2
    assert "--resample changes the copy" in capsys.readouterr().err
    assert run("check", song.parent, "--channels", 2) == 2
    assert "--channels changes the copy" in capsys.readouterr().err
    fix = ("--fix", song.parent.parent / "out", "--resample", 1)
    assert run("check", song.parent, *fix) == 2
    assert "--resample must be from 1000" in capsys.readouterr().err


def test_a_folder_that_is_not_there(tmp_path, capsys):
    assert run("check", tmp_path / "missing") == 2
    assert "no such folder" in capsys.readouterr().err


# ---- fetch and convert --------------------------------------------------------------


@pytest.fixture
def offered(song, tmp_path, monkeypatch):
    """A public data set "one" of one song, on a server of this machine."""
    file = shutil.make_archive(str(tmp_path / "one"), "zip", song.parent)
    content = Path(file).read_bytes()
    with serving(content) as server:
        row = PublicDataset(
            title="One song",
            license="CC0: any use",
            page="https://example.org/one",
            addresses=(f"{server.address}/one.zip",),
            checksum=f"sha256:{hashlib.sha256(content).hexdigest()}",
            size=len(content),
            unpacked=10**6,
            layout="songs",
            n_songs=1,
        )
        monkeypatch.setitem(DATASETS, "one", row)
        yield server


def test_fetch_shows_the_license_and_what_there_is(offered, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("fetch", "one", "-o", out) == 2
    captured = capsys.readouterr()
    assert "License: CC0: any use" in captured.out
    assert "Accept it with --yes" in captured.err
    assert run("fetch", "one", "-o", out, "--yes") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "One song (https://example.org/one)",
        "License: CC0: any use",
        f"{out}: layout songs: 1 song without splits",
    ]
    assert run("fetch", "one", "-o", out) == 0


def test_a_data_set_that_is_there_may_be_read_only(
    offered, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    assert run("fetch", "one", "-o", out, "--yes") == 0

    def read_only(path, **options):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr(Path, "unlink", read_only)
    assert run("fetch", "one", "-o", out) == 0
    assert "1 song without splits" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("Yes", 0), ("", 2), ("n", 2)])
def test_fetch_asks_at_a_terminal(offered, tmp_path, monkeypatch, answer, code):
    questions = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda q: questions.append(q) or answer)
    assert run("fetch", "one", "--out-dir", tmp_path / "out") == code
    assert questions == ["Do you accept this license? [y/N] "]


def test_fetch_names_the_data_sets(capsys):
    assert run("fetch", "musdb") == 2
    assert "moisesdb, musdb18-7s, musdb18-hq" in capsys.readouterr().err


def test_convert_says_what_it_did(song, tmp_path, capsys):
    sounds = {stem: sf.read(song / f"{stem}.wav")[0] for stem in ("dizi", "pipa")}
    for stem, sound in sounds.items():
        sf.write(song / f"{stem}.wav", 10 * sound, RATE, subtype="FLOAT")
    out = tmp_path / "new"
    words = ("--to", "msst", "--ext", "flac", "--jobs", "1", "--sample-rate", "16000")
    assert run("convert", song.parent, out, *words) == 0
    text = capsys.readouterr().out
    assert "song: all files are scaled by -" in text
    assert f"{out}: layout songs: 1 song without splits" in text
    assert sf.info(out / "song" / "dizi.flac").frames == 4 * RATE
    assert run("convert", song.parent, out, *words) == 0
    assert "1 song of an earlier run, not written again" in capsys.readouterr().out


def test_convert_says_that_a_mixture_is_left_out(song, tmp_path, capsys):
    words = ("--to", "open-unmix", "--split", "0", "0", "1", "--jobs", "1")
    assert run("convert", song.parent, tmp_path / "new", *words) == 0
    text = capsys.readouterr().out
    assert "1 song: the mixture is not the sum of the stems" in text
    assert "layout splits: 1 test" in text


def test_convert_names_the_targets(song, tmp_path, capsys):
    assert run("convert", song.parent, tmp_path / "new", "--to", "umx") == 2
    assert "open-unmix-aligned" in capsys.readouterr().err


# ---- pseudo-label -------------------------------------------------------------------


@pytest.fixture
def songs(tmp_path):
    """Three mixtures of 1 s, without stems."""
    folder = tmp_path / "songs"
    folder.mkdir()
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (3, 44100, 2))
    for number, sound in enumerate(noise):
        sf.write(folder / f"song {number}.wav", sound, 44100)
    return folder


def test_pseudo_label_makes_a_set_that_loads(songs, model, tmp_path, capsys):
    words = ("-m", model, "--min-agreement", "-100", "--min-seconds", "0.5")
    words += ("--stems", "vocals", "instrumental=-vocals")
    assert run("pseudo-label", songs, tmp_path / "out", *words) == 0
    text = capsys.readouterr().out
    assert "done     song 0: 1.0 s in 1 piece in " in text
    assert f"the license of the teacher {model} is unknown" in text
    assert "3 songs, 0 failed: 3.0 s in pieces, 1 in train, 1 in valid, 1 in" in text
    tracks = load_dataset(tmp_path / "out")
    assert {track.stems for track in tracks} == {("vocals", "instrumental")}
    document = json.loads((tmp_path / "out" / "pseudo_labels.json").read_text("utf-8"))
    assert document["teacher"]["name"] == str(model)
    assert run("pseudo-label", songs, tmp_path / "out", *words) == 0
    assert "skipped  song 0: finished before" in capsys.readouterr().out
    words += ("--overlap", "0.5")
    assert run("pseudo-label", songs, tmp_path / "out", *words) == 2
    assert "overlap was 0.25 and is 0.5" in capsys.readouterr().err


def test_pseudo_label_says_that_nothing_agrees(songs, model, tmp_path, capsys):
    words = ("-m", model, "--min-agreement", "100", "--split", "1", "0", "0")
    assert run("pseudo-label", songs, tmp_path / "out", *words) == 1
    text = capsys.readouterr().out
    assert "0.0 s in 0 pieces in train, 1.0 s left out: agreement" in text
    assert "3 songs, 0 failed: 0.0 s in pieces, 0 in train; " in text


def test_pseudo_label_goes_on_after_a_bad_song(songs, model, tmp_path, capsys):
    (songs / "a.mp3").write_text("no music")
    words = ("-m", model, "--min-agreement", "-100", "--min-seconds", "0")
    assert run("pseudo-label", songs, tmp_path / "out", *words) == 1
    captured = capsys.readouterr()
    assert "failed" in captured.err
    assert "a.mp3" in captured.err
    assert "3 songs, 1 failed" in captured.out


def test_pseudo_label_says_how_to_continue(songs, model, tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mssedu.separation.pseudo_labels.separate_song", stop)
    assert run("pseudo-label", songs, tmp_path / "out", "-m", model) == 130
    assert "to continue: the same command" in capsys.readouterr().err


# ---- build --------------------------------------------------------------------------


@pytest.fixture
def recordings(tmp_path):
    """Three recordings of each of two instruments."""
    random = np.random.default_rng(0)
    for stem in ("dizi", "pipa"):
        for number in range(3):
            path = tmp_path / "recordings" / stem / f"{stem} {number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, 0.1 * random.standard_normal((2 * RATE, 1)), RATE)
    (tmp_path / "recordings" / "dizi" / "README.md").write_text("CC BY-NC-ND 4.0")
    return tmp_path / "recordings"


MIXES = ("--mixes", 6, "--seconds", 1, "--sample-rate", RATE, "--gain-db", -6, 3)


def test_build_makes_mixes_that_check_finds_no_fault_in(recordings, tmp_path, capsys):
    words = ("build", recordings, tmp_path / "mixes", *MIXES, "--seed", 1)
    assert run(*words, "--split", 0.6, 0.2, 0.2) == 0
    captured = capsys.readouterr()
    assert "2 train, 2 valid, 2 test; each is a recording of one stem" in captured.out
    assert "6 of 6 recordings are converted to 8000 Hz × 2 channels" in captured.out
    assert "6 mixes of 1 s (4 train, 1 valid, 1 test)" in captured.out
    errors = " ".join(captured.err.split())
    assert "allow no derivatives: dizi 3 (CC BY-NC-ND 4.0)" in errors
    assert "unknown licenses: pipa 3. Name them" in errors
    assert run("check", tmp_path / "mixes") == 0
    assert "6 songs, layout mixes: 0 errors" in capsys.readouterr().out


def test_build_takes_licenses_and_goes_on_only_as_before(recordings, tmp_path, capsys):
    words = ("build", recordings, tmp_path / "mixes", *MIXES, "--virtual")
    license_flags = ("--license", "pipa=CC BY 4.0", "dizi=CC0")
    assert run(*words, *license_flags) == 0
    assert capsys.readouterr().err == ""
    document = json.loads((tmp_path / "mixes" / "build.json").read_text("utf-8"))
    names = {row["stem"]: row["license"] for row in document["sources"]}
    assert names == {"dizi": "CC0", "pipa": "CC BY 4.0"}
    assert run(*words, *license_flags, "--channels", 1) == 2
    assert "channels was 2 and is 1" in capsys.readouterr().err


def test_build_says_how_to_continue(recordings, tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mssedu.data.building.mixes.save_audio", stop)
    assert run("build", recordings, tmp_path / "mixes", *MIXES) == 130
    assert "to continue: the same command" in capsys.readouterr().err


def test_places_that_cannot_be_written_are_named_before_the_work(
    song, tmp_path, capsys
):
    file = tmp_path / "notes.txt"
    file.touch()
    folder = song.parent
    for words in (
        ("check", folder, "--json", file / "a.json"),
        ("check", folder, "--fix", file / "copy"),
        ("convert", folder, file / "copy"),
        ("fetch", "musdb18-7s", "-o", file, "--yes"),
    ):
        assert run(*words) == 2
        assert "nothing can be written there" in capsys.readouterr().err
    assert run("check", folder, "--json", tmp_path) == 2
    assert f"{tmp_path} is a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("build", "--mixes", 0), "mixes must be at least 1, got 0."),
        (("build", "--license", "CC0"), "license must be STEM=LICENSE"),
        (("build", "--virtual", "--mixture"), "mixture excludes virtual"),
        (("pseudo-label", "--passes", 1), "passes must be from 2 to 16, got 1."),
    ],
    ids=str,
)
def test_options_out_of_range_are_plain_errors(words, text, tmp_path, capsys):
    """They were in a box, with names of the code and the help of another command."""
    assert run(*words, tmp_path, tmp_path / "out") == 2
    assert capsys.readouterr().err.startswith(f"error    {text}")


def test_build_refuses_songs(song, tmp_path, capsys):
    assert run("build", song.parent, tmp_path / "mixes") == 2
    assert "recordings of single stems" in capsys.readouterr().err
