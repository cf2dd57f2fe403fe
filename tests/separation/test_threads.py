"""Waiting threads spin for a short time, in every process that a command starts."""

import os
import platform
import subprocess
import sys
from unittest import mock

import pytest

from mssedu.cli import commands as cli
from mssedu.course import build
from mssedu.separation.threads import SETTINGS, SHORT, short_spin


def run(program, *args, **environment):
    """Run a program, or a file with arguments, in whose environment nothing else is."""
    plain = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    words = (
        [sys.executable, program, *args] if args else [sys.executable, "-c", program]
    )
    environment = plain | environment
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done


def test_a_short_spin_is_set_once():
    environment = {"PATH": "/bin"}
    short_spin(environment)
    assert environment == {"PATH": "/bin", **SHORT}
    environment["GOMP_SPINCOUNT"] = "7"
    short_spin(environment)
    assert environment["GOMP_SPINCOUNT"] == "7"


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_user_has_set_stays(name):
    environment = {name: "user"}
    short_spin(environment)
    assert environment == {name: "user"}


def test_importing_the_package_sets_nothing():
    program = (
        "import os, mssedu.cli.commands, mssedu.separation.threads\n"
        "print('GOMP_SPINCOUNT' in os.environ)"
    )
    assert run(program).stdout == "False\n"


# Notes the environment at the moment that torch is first imported
WATCH = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(name, os.environ.get("GOMP_SPINCOUNT"), file=sys.stderr)
            sys.meta_path.remove(self)

sys.meta_path.insert(0, Watch())
"""
MODELS = WATCH + "from mssedu.cli.commands import main; main(['models'])"


def test_a_command_sets_it_before_torch_is_imported():
    assert run(MODELS).stderr == "torch 1000\n"


def test_the_setting_of_the_user_survives_a_command():
    assert run(MODELS, GOMP_SPINCOUNT="5").stderr == "torch 5\n"
    assert run(MODELS, OMP_WAIT_POLICY="passive").stderr == "torch None\n"


@pytest.mark.skipif(platform.system() != "Linux", reason="libgomp: torch for Linux")
def test_openmp_has_read_it():
    program = "from mssedu.cli.commands import main; main(['models'])"
    shown = run(program, OMP_DISPLAY_ENV="verbose").stderr
    assert "GOMP_SPINCOUNT = '1000'" in shown


@pytest.fixture
def nothing_set():
    """An environment without settings; afterwards it is as it was."""
    with mock.patch.dict(os.environ):
        for name in SETTINGS:
            os.environ.pop(name, None)
        yield


def test_the_kernels_of_the_lab_inherit_it(monkeypatch, nothing_set):
    environments = []

    def jupyterlab(command, check):
        environments.append(dict(os.environ))  # what subprocess.run hands on
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(cli.subprocess, "run", jupyterlab)
    assert cli.main(["lab"]) == 0
    assert SHORT.items() <= environments[0].items()


def test_the_kernel_of_a_notebook_that_is_built_inherits_it(
    monkeypatch, nothing_set, tmp_path
):
    def start(*_, **__):
        raise InterruptedError(dict(os.environ))

    monkeypatch.setattr(build, "NotebookClient", start)
    text = tmp_path / "py" / "00_text.py"
    text.parent.mkdir()
    text.write_text("# %%\n1 + 1\n")
    with pytest.raises(InterruptedError) as stop:
        build.build(text)
    assert SHORT.items() <= stop.value.args[0].items()


WORKERS = """
import multiprocessing, os, sys
import torch.utils.data

class Songs(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, place):
        return os.environ["GOMP_SPINCOUNT"]

def command() -> int:
    for method in sys.argv[1:]:
        context = multiprocessing.get_context(method)
        loader = torch.utils.data.DataLoader(
            Songs(), num_workers=1, multiprocessing_context=context
        )
        print(method, next(iter(loader)))
    return 0

if __name__ == "__main__":
    from mssedu.cli import commands as cli

    cli.COMMANDS["models"] = command
    sys.exit(cli.main(["models"]))
"""


def test_workers_inherit_it(tmp_path):
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    methods = ["spawn"] if os.name == "nt" else ["spawn", "fork"]
    wanted = "".join(f"{method} ['1000']\n" for method in methods)
    assert run(str(script), *methods).stdout == wanted


def test_test_runs_have_it_before_torch():
    """By the root conftest.py, from which workers and kernels of nbval inherit it."""
    options = ["-qs", f"{__file__}::test_a_short_spin_is_set_once"]
    program = f"{WATCH}import pytest; sys.exit(pytest.main({options}))"
    assert run(program).stderr == "torch 1000\n"
