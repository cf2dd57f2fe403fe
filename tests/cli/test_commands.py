"""The command line as a user meets it: exit codes, messages, files."""

import os
import subprocess
import sys

import pytest

from mssedu.cli import commands as cli


def run(*args):
    return cli.main([str(arg) for arg in args])


def test_help_names_every_command(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    for command in cli.COMMANDS:
        assert f"  {command} " in text
    assert run() == 2


@pytest.mark.parametrize("command", ["train", "separate", "evaluate"])
def test_help_loads_nothing_heavy(command):
    code = (
        "import sys; from mssedu import cli\n"
        f"try: cli.main(['{command}', '--help'])\n"
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
    assert "segment must be from 0 to 3600 (0 excluded)" in capsys.readouterr().err


def test_models_with_cards(monkeypatch, capsys):
    from mssedu.cli import card, console

    monkeypatch.setattr(console, "FIRST_LINE", 0)
    make = card.make_card
    short = {"stems": ["a"], "segment": 0.1}
    some = ["open_unmix", "spleeter", "wave_u_net"]
    monkeypatch.setattr("mssedu.models.registry.list_models", lambda: some)
    monkeypatch.setattr(card, "make_card", lambda *a, device: make(*a, **short))
    assert run("models", "--cards", "--preset", "tiny", "--format", "markdown") == 0
    seen = capsys.readouterr()
    assert "| open_unmix | tiny | 0.23 |" in seen.out
    assert "measuring: " in seen.err


def test_doctor_returns_an_exit_code(capsys):
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


def test_an_error_of_the_system_is_one_line(monkeypatch, capsys):
    def full(*args, **options):
        raise OSError(28, "No space left on device", "scores.json")

    monkeypatch.setattr("mssedu.cli.commands.tyro.cli", full)
    assert run("models") == 1
    assert "scores.json: No space left on device" in capsys.readouterr().err


def test_a_console_of_another_code_page_shows_what_it_can():
    words = [sys.executable, "-m", "mssedu", "--help"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, capture_output=True, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"[--help] ?" in done.stdout
