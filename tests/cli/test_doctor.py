"""Every trap of `mssedu doctor`, by putting its probe into the situation."""

import re
import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import soundfile
import torch

from mssedu.cli import doctor
from mssedu.cli.doctor import Finding, Gpu, gpu_finding

AMPERE = Gpu("RTX 3060", 13, (8, 6), build="13.0")
PASCAL = Gpu("GTX 1050 Ti", 13, (6, 1), build="13.0")
NO_CODE = "CUDA error: no kernel image is available for execution on the device"


# ---- the report ---------------------------------------------------------------------


def test_diagnose_has_a_finding_for_every_trap_of_this_machine():
    findings = doctor.diagnose()
    assert {"python", "torch", "torchaudio", "numpy", "ffmpeg", "gpu"} <= {*findings}
    assert {"soundfile", "mp3", "av", "soxr", "jupyterlab"} <= {*findings}
    assert {"anywidget", "widgets", "processor", "disk", "data"} <= {*findings}
    assert all(f.command for f in findings.values() if f.status == "broken")


def test_a_probe_that_fails_becomes_a_finding_with_a_command(monkeypatch):
    def probe():
        raise OSError("no such device")

    monkeypatch.setattr(doctor, "disk_finding", probe)
    finding = doctor.diagnose()["disk"]
    assert finding.status == "broken"
    assert "OSError: no such device" in finding.text
    assert "pip install -e" in finding.command


@pytest.mark.parametrize(
    ("statuses", "code"), [("", 0), ("ok note", 0), ("note broken ok", 3)]
)
def test_a_line_per_finding_and_3_if_anything_is_broken(
    statuses, code, monkeypatch, capsys
):
    findings = {s: Finding(s, "some text", "pip") for s in statuses.split()}
    monkeypatch.setattr(doctor, "diagnose", lambda segment: findings)
    assert doctor.doctor() == code
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[::2] == [[s, s, "some", "text"] for s in findings]
    assert lines[1::2] == [["→", "pip"]] * len(findings)


# ---- Python, packages and files -----------------------------------------------------


@pytest.mark.parametrize(
    ("version", "status"), [((3, 10), "broken"), ((3, 11), "ok"), ((3, 13), "ok")]
)
def test_python_finding(version, status, monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", version)
    assert doctor.python_finding().status == status


ANOTHER_NUMPY = "broken compiled for another NumPy"


@pytest.mark.parametrize(
    ("name", "code", "text", "command"),
    [
        ("soxr", "raise ValueError('numpy.dtype size changed')", ANOTHER_NUMPY, "soxr"),
        ("soxr", "raise ImportError('numpy.core.multiarray')", ANOTHER_NUMPY, "soxr"),
        ("av", "raise RuntimeError('Numpy is not available')", ANOTHER_NUMPY, "av"),
        (
            "av",
            "import warnings; warnings.warn('compiled using NumPy 1')",
            ANOTHER_NUMPY,
            "av",
        ),
        ("av", "print('_ARRAY_API', file=sys.stderr)", ANOTHER_NUMPY, "av"),
        ("av", "import av_of_doctor as av", "broken import fails: Mod.*_of_doc", "av"),
        (
            "torchaudio",
            "raise OSError('a.so: undefined symbol: _Z\\nmore')",
            r"note import fails \(mssedu works without it\): OSError: .*symbol: _Z$",
            "torch torchaudio",
        ),
    ],
)
def test_package_that_does_not_import(name, code, text, command, monkeypatch):
    monkeypatch.setattr(doctor.importlib, "import_module", lambda _: exec(code))
    finding = doctor.package_finding(name)
    assert re.match(text, f"{finding.status} {finding.text}")
    before = "numpy " if text == ANOTHER_NUMPY else ""
    assert f"pip install --force-reinstall {before}{command}" in finding.command


def test_torch_is_used_because_it_imports_beside_another_numpy(monkeypatch):
    monkeypatch.setattr(torch, "zeros", lambda _: torch.ones(1).to("meta"))
    assert "import fails: TypeError" in doctor.package_finding("torch").text


def test_package_that_is_not_installed():
    finding = doctor.package_finding("absent_module")
    assert (finding.status, finding.text) == ("broken", "not installed")
    assert "pip install absent_module" in finding.command


def test_package_that_imports(monkeypatch):
    assert doctor.package_finding("numpy").text == numpy.__version__
    monkeypatch.setattr(doctor.importlib, "import_module", lambda _: object())
    assert doctor.package_finding("soxr") == Finding("ok", "imports")


def test_mp3_finding(monkeypatch):
    assert doctor.mp3_finding().status == "ok"
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV"})
    finding = doctor.mp3_finding()
    assert finding.status == "note"
    assert soundfile.__libsndfile_version__ in finding.text
    assert "soundfile" in finding.command


@pytest.mark.parametrize(
    ("system", "conda", "command"),
    [
        ("Linux", "", "sudo apt-get install ffmpeg"),
        ("Darwin", "", "brew install ffmpeg"),
        ("Windows", "", "winget install Gyan.FFmpeg"),
        ("Windows", "C:/c", "conda install -c conda-forge ffmpeg"),
    ],
)
def test_missing_ffmpeg(system, conda, command, monkeypatch):
    monkeypatch.setenv("CONDA_PREFIX", conda)
    monkeypatch.setattr(doctor.platform, "system", lambda: system)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    finding = doctor.ffmpeg_finding()
    assert (finding.status, finding.command) == ("note", command)
    assert "no ffmpeg and no ffprobe: museval" in finding.text
    monkeypatch.setattr(shutil, "which", "/usr/bin/{}".format)
    assert doctor.ffmpeg_finding() == Finding("ok", "/usr/bin/ffmpeg")


# ---- the machine --------------------------------------------------------------------


def test_threads_that_leave_cores_idle(monkeypatch):
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(doctor.os, "sysconf", lambda name: 15.6**0.5 * 2**15)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    finding = doctor.processor_finding()
    assert finding.status == "note"
    assert finding.command.split()[1].startswith("OMP_NUM_THREADS")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert doctor.processor_finding().text == "8 cores, 16 GiB memory"
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.delattr(doctor.os, "sysconf")
    assert doctor.processor_finding() == Finding("ok", "8 cores")


def test_disk_finding(monkeypatch):
    usage = types.SimpleNamespace(free=2 * doctor.GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert doctor.disk_finding() == Finding("ok", "2 GiB free")
    usage.free = 0.4 * doctor.GIB
    full = doctor.disk_finding()
    assert (full.status, full.text[:7]) == ("note", "0.4 GiB")
    assert full.command.endswith("pip cache purge")


def test_data_finding(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    song = tmp_path / "data" / "test" / "雨天 #1"
    song.mkdir(parents=True)
    assert doctor.data_finding().status == "broken"
    for stem in ("vocals", "drums", "bass", "other"):
        (song / f"{stem}.ogg").touch()
    assert doctor.data_finding().text.startswith("1 songs")
    (song / "bass.ogg").unlink()
    finding = doctor.data_finding()
    assert (finding.status, finding.text[:22]) == ("broken", "incomplete: 3 stems of")
    assert finding.command.endswith("restore data")


# ---- GPU, driver and build ----------------------------------------------------------


def ampere(**changes):
    return replace(AMPERE, **changes)


INDEX = f"torch torchaudio --extra-index-url {doctor.WHEELS}"
RESTART = "restart the computer"
KEPLER = Gpu("Tesla K80", 12, (3, 7), build="12.6", works=False, error=NO_CODE)
WITHOUT_CODE = replace(PASCAL, works=False, error=NO_CODE)


@pytest.mark.parametrize(
    ("gpu", "text", "command"),
    [
        (Gpu(build="13.0"), "ok none found", ""),
        (Gpu("Apple GPU", works=True), "ok Apple GPU$", ""),
        (ampere(works=True, free_gib=10.7), "ok RTX 3060, 10.7 GiB free$", ""),
        (ampere(build=None), "broken.*CPU-only", INDEX + "cu130"),
        (replace(PASCAL, build=None), "broken.*CPU-only", INDEX + "cu126"),
        (ampere(build=None, driver_cuda=12), "broken.*CPU-only", INDEX + "cu128"),
        (Gpu("Its driver has no number"), "broken.*CPU-only", INDEX + "cu130"),
        (
            ampere(driver_cuda=12),
            "broken.*old for PyTorch for CUDA 13",
            INDEX + "cu128",
        ),
        (ampere(driver_cuda=11), "broken.*every build", doctor.DRIVERS),
        (WITHOUT_CODE, "broken.*CUDA 13.0 has no code", INDEX + "cu126"),
        (KEPLER, "note", ""),
        (ampere(works=False, error="failed"), "broken RTX 3060: failed$", RESTART),
        (Gpu("NVIDIA GPU", error="NVIDIA-SMI failed"), "broken", doctor.DRIVERS),
        (AMPERE, "broken.*restart", RESTART),
    ],
)
def test_gpu_finding(gpu, text, command, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    finding = gpu_finding(gpu, 10)
    assert re.match(text, f"{finding.status} {finding.text}")
    assert command in finding.command
    assert bool(command) == bool(finding.command)


def test_a_gpu_that_a_variable_hides(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    command = gpu_finding(AMPERE, 10).command
    assert command.split()[1].startswith("CUDA_VISIBLE_DEVICES")


def test_too_little_memory_names_a_segment_that_fits():
    small = replace(PASCAL, works=True, free_gib=1.5)
    finding = gpu_finding(small, 60)
    assert finding.status == "note"
    assert "1.5 GiB free; a segment of 60 s needs 2.6" in finding.text
    assert finding.command == "mssedu separate --segment 23 FILE"
    assert gpu_finding(small, 23).status == "ok"
    full = gpu_finding(replace(small, free_gib=0.1), 10)
    assert full.command == "mssedu separate --device cpu FILE"


@pytest.fixture
def answers(monkeypatch):
    """What nvidia-smi prints for each of its options."""
    texts = {
        "": "| Driver Version: 580.95.05      CUDA Version: 13.0     |",
        "-L": "GPU 0: NVIDIA GeForce RTX 3060 (UUID: GPU-1)",
        "--query-gpu=compute_cap": "8.6\n",
    }

    def run(words, **options):
        text = texts[words[1] if len(words) > 1 else ""]
        return types.SimpleNamespace(stdout=text, stderr="")

    monkeypatch.setattr(doctor.shutil, "which", lambda name: name)
    monkeypatch.setattr(doctor.subprocess, "run", run)
    return texts


def test_what_nvidia_smi_prints_is_read(answers, monkeypatch):
    assert doctor.ask_nvidia_smi() == Gpu("NVIDIA GeForce RTX 3060", 13, (8, 6))
    answers["--query-gpu=compute_cap"] = 'Field "compute_cap" is not a valid field'
    assert doctor.ask_nvidia_smi().capability is None
    answers[""] = answers["-L"] = "NVIDIA-SMI has failed because …\nMake sure …"
    assert doctor.ask_nvidia_smi().error == "NVIDIA-SMI has failed because …"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor.ask_nvidia_smi() == Gpu()


def test_pytorch_is_tried_on_the_gpu(answers, monkeypatch):
    assert doctor.find_gpu(None).works is None
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "RTX 4090")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3 * doctor.GIB, 0))
    monkeypatch.setattr(torch, "ones", lambda *_, **__: torch.zeros(2))
    gpu = doctor.find_gpu(torch)
    assert (gpu.name, gpu.works, gpu.free_gib) == ("RTX 4090", True, 3)

    def fail(*_, **__):
        raise RuntimeError(f"{NO_CODE}\nmore")

    monkeypatch.setattr(torch, "ones", fail)
    gpu = doctor.find_gpu(torch)
    assert (gpu.works, gpu.error) == (False, NO_CODE)


# ---- commands -----------------------------------------------------------------------


def test_pip_install_pins_where_the_clone_has_pins(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "ROOT", tmp_path / "雨天 #1")
    assert doctor.pip_install("av").endswith("pip install av")
    doctor.ROOT.mkdir()
    pins = doctor.ROOT / "constraints.txt"
    pins.touch()
    assert doctor.pip_install("av").endswith(doctor.shell("-c", str(pins)))
    assert Path(sys.executable).name in doctor.pip_install("av")


# ---- widgets ------------------------------------------------------------------------


def with_versions(monkeypatch, **versions):
    """Let the probe find these versions; None: the package is not installed."""
    known = {
        "anywidget": "0.9.21",
        "ipywidgets": "8.1.9",
        "jupyterlab_widgets": "3.0.17",
    }

    def version(name):
        found = {**known, **versions}[name]
        if found is None:
            raise doctor.importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    for name in ("COLAB_RELEASE_TAG", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)
    return doctor.widgets_finding()


def test_widgets_that_fit_together_are_ok(monkeypatch):
    finding = with_versions(monkeypatch)
    assert finding.status == "ok"
    assert (
        finding.text == "anywidget 0.9.21, ipywidgets 8.1.9, jupyterlab_widgets 3.0.17"
    )


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("ipywidgets", "7.8.1", "ipywidgets is 7.8.1, not 8.1 or later before 9"),
        ("jupyterlab_widgets", "1.1.7", "jupyterlab_widgets is 1.1.7, not 3.0"),
        ("anywidget", None, "anywidget is not installed"),
        ("anywidget", "0.10.0", ""),
    ],
)
def test_widgets_that_do_not_fit_are_named_with_the_command(
    monkeypatch, name, version, said
):
    finding = with_versions(monkeypatch, **{name: version})
    assert said in finding.text
    assert finding.status == ("broken" if said else "ok")
    assert ("ipywidgets>=8.1,<9" in finding.command) == bool(said)


def test_colab_and_vs_code_get_what_they_need(monkeypatch):
    with_versions(monkeypatch)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab")
    assert "enable_custom_widget_manager()" in doctor.widgets_finding().command
    monkeypatch.delenv("COLAB_RELEASE_TAG")
    monkeypatch.setenv("TERM_PROGRAM", "vscode")
    assert "ms-toolsai.jupyter" in doctor.widgets_finding().command
