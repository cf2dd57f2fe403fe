"""The command line as a user meets it: exit codes, messages, files."""

import json
import subprocess
import sys
import time

import pytest
import torch

from mssedu import cli
from mssedu.audio import load_audio, save_audio
from mssedu.checkpoint import save_checkpoint
from mssedu.pretrained.published import PUBLISHED, Published, WeightFile
from mssedu.registry import create_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A checkpoint of an untrained tiny model: it separates, if badly."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    network = create_model("open_unmix", "tiny", n_layers=1, wiener_iterations=0)
    save_checkpoint(folder / "best.safetensors", network)
    return folder


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "雨天 #1.flac"
    save_audio(path, torch.rand(2, 30000) - 0.5, 44100)
    return path


def run(*args):
    return cli.main([str(arg) for arg in args])


def test_help_names_every_command(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    for command in cli.COMMANDS:
        assert f"  {command} " in text
    assert run() == 2


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_each_command(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run(command, "--help")
    assert stop.value.code == 0
    assert f"usage: mssedu {command}" in capsys.readouterr().out


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from mssedu import cli\n"
        "try: cli.main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'IPython'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_unknown_commands_and_flags(capsys):
    assert run("separat") == 2
    assert "Did you mean 'separate'?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        run("models", "--wrong")
    assert stop.value.code == 2


def test_separate_one_song(model, song, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("separate", song, "-m", model, "-o", out) == 0
    for stem in ("vocals", "drums", "bass", "other"):
        audio, rate = load_audio(out / "雨天 #1" / f"{stem}.wav")
        assert (audio.shape, rate) == ((2, 30000), 44100)
    assert "1 of 1 done" in capsys.readouterr().out


def test_one_bad_file_never_stops_the_others(model, song, tmp_path, capsys):
    bad = tmp_path / "bad [x].wav"
    bad.write_bytes(b"no audio")
    missing, out = tmp_path / "none.wav", tmp_path / "out"
    assert run("separate", bad, missing, song, "-m", model, "-o", out) == 1
    seen = capsys.readouterr()
    assert "bad [x].wav" in seen.err
    assert "none.wav" in seen.err
    assert "1 of 3 done" in seen.out
    assert (out / "雨天 #1" / "bass.wav").exists()


def test_results_are_not_overwritten_silently(model, song, tmp_path, capsys):
    command = ("separate", song, "-m", model, "-o", tmp_path / "out")
    assert run(*command) == 0
    before = (tmp_path / "out" / "雨天 #1" / "bass.wav").stat().st_mtime_ns
    assert run(*command) == 1
    assert "expected no output yet" in capsys.readouterr().err
    assert run(*command, "--exists", "skip") == 0
    assert "skipped" in capsys.readouterr().out
    after = (tmp_path / "out" / "雨天 #1" / "bass.wav").stat().st_mtime_ns
    assert after == before
    time.sleep(0.01)
    assert run(*command, "--exists", "overwrite") == 0
    newest = (tmp_path / "out" / "雨天 #1" / "bass.wav").stat().st_mtime_ns
    assert newest > before


def test_separate_needs_files_and_a_model(tmp_path, song, capsys):
    assert run("separate") == 2
    assert "Name at least one song" in capsys.readouterr().err
    assert run("separate", song, "-m", tmp_path / "nothing") == 2


def test_train_then_evaluate(tmp_path, capsys):
    for split in ("train", "valid"):
        for stem in ("vocals", "drums", "bass", "other"):
            path = tmp_path / "songs" / split / f"{split} song" / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_audio(path, torch.rand(2, 44100) - 0.5, 44100)
    songs, out = tmp_path / "songs", tmp_path / "run"
    command = ("train", songs, "--run-dir", out, "--model", "open_unmix")
    small = ("--preset", "tiny", "--steps", 2, "--batch-size", 2, "--segment", 0.3)
    assert run(*command, *small, "--valid-every", 2) == 0
    assert (out / "last.safetensors").exists()
    assert run(*command, *small) == 2  # the folder is taken
    assert "--resume" in capsys.readouterr().err
    scores = tmp_path / "scores.json"
    evaluate = ("evaluate", songs, "-m", out, "--split", "valid", "--save", scores)
    assert run(*evaluate) == 0
    assert "| model |" in capsys.readouterr().out
    assert json.loads(scores.read_text("utf-8"))["n_tracks"] == 1
    assert run(*evaluate) == 2  # never over an earlier result


def test_songs_of_the_other_splits_are_never_trained_on(tmp_path):
    for place in ("songs/train/a", "songs/valid/b", "songs/test/c", "more/d"):
        for stem in ("vocals", "drums", "bass", "other"):
            path = tmp_path / place / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_audio(path, torch.rand(2, 44100) - 0.5, 44100)
    small = ("--model", "open_unmix", "--preset", "tiny", "--steps", 1)
    small = (*small, "--batch-size", 2, "--segment", 0.3, "--run-dir", tmp_path / "run")
    more = ("--valid-data", tmp_path / "more")
    assert run("train", tmp_path / "songs", *more, *small) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert (config["train_tracks"], config["valid_tracks"]) == (["a"], ["d"])


def test_models_lists_sizes(capsys):
    assert run("models") == 0
    text = capsys.readouterr().out
    assert "open_unmix" in text
    assert "35,573,392" in text
    assert run("models", "--pretrained", "--format", "markdown") == 0
    assert "| htdemucs | htdemucs |" in capsys.readouterr().out


def test_card_in_every_format(capsys):
    command = ("card", "open_unmix", "--preset", "tiny", "--segment", 0.2)
    for form, start in (("table", "open_unmix"), ("markdown", "| open_unmix")):
        assert run(*command, "--stems", "a", "b", "--format", form) == 0
        text = capsys.readouterr().out
        assert text.strip().startswith(start)
        assert "a, b" in text
        assert "1 MAC = 2 FLOPs" in text
    assert run(*command, "--format", "latex", "--device", "cpu") == 0
    assert r"\begin{tabular}" in capsys.readouterr().out


def test_card_names_mistakes(capsys):
    assert run("card", "open_unmx") == 2
    assert "Did you mean 'open_unmix'?" in capsys.readouterr().err
    assert run("card", "open_unmix", "--preset", "tiny", "--segment", 0) == 2
    assert "segment in (0" in capsys.readouterr().err


def test_models_with_cards(monkeypatch, capsys):
    from mssedu import card

    make = card.make_card
    short = {"stems": ["a"], "segment": 0.1}
    monkeypatch.setattr(card, "make_card", lambda *a, device: make(*a, **short))
    assert run("models", "--cards", "--preset", "tiny", "--format", "markdown") == 0
    seen = capsys.readouterr()
    assert "| open_unmix | tiny | 0.23 |" in seen.out
    assert "measuring" in seen.err


def test_doctor_tells_the_exit_code(capsys):
    assert run("doctor") in (0, 3)
    assert "python" in capsys.readouterr().out


def test_lab_opens_the_notebooks(monkeypatch):
    calls = []

    def fake_run(command, check):
        calls.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(cli.subprocess, "run", fake_run)
    assert run("lab") == 0
    assert calls[0][1:3] == ["-m", "jupyterlab"]
    assert calls[0][3].endswith("notebooks")


def test_lab_without_notebooks(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "mssedu" / "cli.py"))
    assert run("lab") == 2
    assert "Clone the repository" in capsys.readouterr().err


def test_interrupt(monkeypatch):
    def interrupted(segment: float = 10.0) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "doctor", interrupted)
    assert run("doctor") == 130


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A published checkpoint at an address on this disk; gives its local file."""
    network = create_model(
        *("conv_tasnet", "tiny", ("drums", "bass", "other", "vocals")),
        **{"n_filters": 16, "bottleneck": 8, "hidden": 8, "n_blocks": 2},
    )
    torch.save(network.state_dict(), tmp_path / "small.th")
    file = WeightFile((tmp_path / "small.th").as_uri())
    facts = ("conv_tasnet", (file,), network.config.stems, "for tests", "noise")
    entries = {**PUBLISHED, "small": Published(*facts)}
    monkeypatch.setattr("mssedu.pretrained.PUBLISHED", entries)
    monkeypatch.setenv("MSSEDU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "small.th"


def test_separate_by_a_published_name(small, song, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("separate", song, "-m", "small", "-o", out) == 0
    seen = capsys.readouterr()
    assert seen.out.count("small: license for tests") == 1
    assert "sha256" in seen.out
    assert "fetching, MB" in seen.err
    assert (out / "雨天 #1" / "vocals.wav").exists()


@pytest.mark.parametrize("name", [(), ("-m", "small")])
def test_separate_with_local_weights(small, song, tmp_path, capsys, name):
    options = ("--weights", small, "-o", tmp_path / "out", *name)
    assert run("separate", song, *options) == 0
    assert ("license" in capsys.readouterr().out) == bool(name)
    assert not (tmp_path / "cache").exists()


def test_a_name_that_does_not_exist(song, capsys):
    assert run("separate", song, "-m", "htdemuc") == 2
    assert "Did you mean 'htdemucs'?" in capsys.readouterr().err


def test_a_segment_longer_than_trained_is_told_in_one_line(song, tmp_path, capsys):
    network = create_model("htdemucs", "tiny", segment=0.5)
    save_checkpoint(tmp_path / "short" / "best.safetensors", network)
    options = ("-m", tmp_path / "short", "-o", tmp_path / "out", "--segment", 12)
    assert run("separate", song, *options) == 0
    seen = capsys.readouterr().err
    assert seen.count("note     segment: 12.0 s > 0.5 s trained; using 0.5\n") == 1
    report = json.loads((tmp_path / "out" / "雨天 #1" / "separation.json").read_text())
    assert report["segment"] == 0.5
