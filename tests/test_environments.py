"""The ways to install agree: two conda files, the Makefile, pyproject, constraints."""

import re
import tomllib
from importlib.metadata import distributions
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from mssedu.cli import doctor

ROOT = Path(__file__).resolve().parents[1]
FILES = ("environment-cpu.yml", "environment-cuda.yml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
TORCH_LINE = re.compile(r"(torch|torchaudio)==|--(extra-)?index-url ")


def environment(name):
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def pip_lines(name):
    (section,) = [d for d in environment(name)["dependencies"] if isinstance(d, dict)]
    return section["pip"]


def constraints():
    """The pins: canonical name -> version."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def requirements():
    extras = chain.from_iterable(PROJECT["optional-dependencies"].values())
    return map(Requirement, [*PROJECT["dependencies"], *extras])


def test_the_two_environments_differ_in_the_torch_lines_only():
    cpu, cuda = map(environment, FILES)
    for file, data in zip(FILES, (cpu, cuda), strict=True):
        rest = [line for line in pip_lines(file) if not TORCH_LINE.match(line)]
        data["dependencies"][-1] = rest
    assert cpu == cuda
    assert pip_lines(FILES[0]) != pip_lines(FILES[1])


def test_the_environment_is_what_the_readme_promises():
    data = environment("environment-cpu.yml")
    assert data["name"] == "mssedu"
    assert data["channels"][0] == "conda-forge"
    assert {"python=3.11", "pip", "ffmpeg"} <= {*map(str, data["dependencies"])}


def test_cpu_wheels_come_from_the_cpu_index_and_cuda_wheels_from_the_default():
    index = f"--extra-index-url {doctor.WHEELS}cpu"
    assert pip_lines("environment-cpu.yml").count(index) == 1
    assert not [line for line in pip_lines("environment-cuda.yml") if "index" in line]


def test_the_cuda_environment_names_each_index_that_doctor_may_name():
    text = (ROOT / "environment-cuda.yml").read_text("utf-8")
    assert doctor.WHEELS in text
    assert {*re.findall(r"cu\d\d\d", text)} == {*doctor.CUDA_BUILDS}


@pytest.mark.parametrize("file", FILES)
def test_environments_install_this_package_with_the_pins(file):
    lines = pip_lines(file)
    assert "-c constraints.txt" in lines
    assert "-e .[dev]" in lines
    pins = constraints()
    torch_pins = {f"{name}=={pins[name]}" for name in ("torch", "torchaudio")}
    assert torch_pins <= {*lines}


def test_the_python_of_the_environments_is_the_one_that_pyproject_asks_for():
    assert PROJECT["requires-python"] == ">=3.11"


def test_every_dependency_is_pinned_to_a_version_that_pyproject_allows():
    pins = constraints()
    for requirement in requirements():
        version = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_every_pin_runs_on_the_oldest_python_that_pyproject_asks_for():
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    asked = {d.name: d.metadata["Requires-Python"] for d in distributions()}
    pins = constraints()
    asked = {name: a for name, a in asked.items() if canonicalize_name(name) in pins}
    assert len(asked) > 100
    assert not {n: a for n, a in asked.items() if a and oldest not in SpecifierSet(a)}


def test_pins_fit_every_wheel_of_torch():
    pins = constraints()
    assert pins["torch"] == pins["torchaudio"] == "2.11.0"
    assert not [name for name in pins if re.match("nvidia|cuda|triton|mssedu", name)]
    assert not [version for version in pins.values() if "+" in version]


def test_the_makefile_installs_with_the_pins():
    text = (ROOT / "Makefile").read_text("utf-8")
    assert "-e '.[dev,parity]' -c constraints.txt" in text


def test_the_demo_installs_no_witness_and_no_browser():
    extras = PROJECT["optional-dependencies"]
    later = {Requirement(line).name for names in extras.values() for line in names}
    demo = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert not demo & later
    assert {"playwright", "demucs", "museval", "torchaudio", "pytest"} <= later
    text = (ROOT / "Makefile").read_text("utf-8")
    assert "pip install -e . -c constraints.txt" in text
    assert re.search(r"^demo: \$\(READY\) ", text, re.MULTILINE)
    assert re.search(r"^test: \$\(TESTABLE\) ", text, re.MULTILINE)
