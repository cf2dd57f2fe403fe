"""Every trap of `mssedu doctor`, by putting its probe into the situation."""

import math
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mssedu.cli import doctor
from mssedu.cli.doctor import Finding, Gpu, Trial, gpu_finding

AMPERE = Gpu("RTX 3060", 13, (8, 6), build="13.0")
PASCAL = Gpu("GTX 1050 Ti", 13, (6, 1), build="13.0")
NO_CODE = "CUDA error: no kernel image is available for execution on the device"


# ---- the report ---------------------------------------------------------------------


def test_diagnose_answers_for_every_trap_of_this_machine():
    findings = doctor.diagnose()
    names = {found.name for found in findings}
    assert {"python", "torch", "torchaudio", "numpy", "ffmpeg", "gpu"} <= names
    assert {"soundfile", "mp3", "av", "soxr", "jupyterlab", "anywidget"} <= names
    assert {"processor", "disk", "data"} <= names
    assert all(found.command for found in findings if found.status == "broken")


def test_a_probe_that_fails_becomes_a_finding_with_a_command():
    def probe():
        raise OSError("no such device")

    (found,) = doctor.guarded("gpu", probe)
    assert (found.name, found.status) == ("gpu", "broken")
    assert "OSError: no such device" in found.text
    assert "pip install -e" in found.command


def test_report_puts_the_command_below_its_finding():
    findings = [Finding("disk", "ok", "9 GiB free"), Finding("av", "broken", "x", "y")]
    first, second, command = doctor.report(findings).splitlines()
    assert first.split() == ["ok", "disk", "9", "GiB", "free"]
    assert second.split() == ["broken", "av", "x"]
    assert command.split() == ["→", "y"]


@pytest.mark.parametrize(
    ("statuses", "code"),
    [([], 0), (["ok", "note"], 0), (["note", "broken", "ok"], 3)],
)
def test_exit_code_is_3_if_anything_is_broken(statuses, code):
    findings = [Finding("disk", status, "seen") for status in statuses]
    assert doctor.exit_code(findings) == code


def test_importing_doctor_loads_neither_torch_nor_matplotlib():
    program = (
        "import sys, mssedu.cli.doctor; print({'torch', 'matplotlib'} & {*sys.modules})"
    )
    words = [sys.executable, "-c", program]
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


# ---- python and packages ------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "status"), [((3, 10), "broken"), ((3, 11), "ok"), ((3, 13), "ok")]
)
def test_python_finding(version, status):
    assert doctor.python_finding(version).status == status


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("numpy.dtype size changed, may indicate binary …"), ""),
        (ImportError("numpy.core.multiarray failed to import"), ""),
        (RuntimeError("Numpy is not available"), ""),
        (
            None,
            "A module that was compiled using NumPy 1.x cannot be run in\nNumPy 2.4",
        ),
        (None, "Failed to initialize NumPy: _ARRAY_API not found"),
    ],
)
def test_package_compiled_for_another_numpy(error, text):
    found = doctor.package_finding(Trial("soxr", None, error, text))
    assert found.status == "broken"
    assert "compiled for another NumPy" in found.text
    assert "pip install --force-reinstall numpy soxr" in found.command


def test_package_that_is_not_installed():
    error = ModuleNotFoundError("No module named 'av'", name="av")
    found = doctor.package_finding(Trial("av", None, error))
    assert (found.status, found.text) == ("broken", "not installed")
    assert "pip install av" in found.command


def test_package_that_misses_another_is_not_called_missing_itself():
    error = ModuleNotFoundError("No module named 'numba'", name="numba")
    found = doctor.package_finding(Trial("scipy", None, error))
    assert "import fails: ModuleNotFoundError: No module named 'numba'" in found.text


def test_torchaudio_that_does_not_import_is_a_note():
    error = OSError("libtorchaudio.so: undefined symbol: _ZNK3c105Error4whatEv\nmore")
    found = doctor.package_finding(Trial("torchaudio", None, error))
    assert found.status == "note"
    assert "mssedu works without it" in found.text
    assert found.text.endswith("undefined symbol: _ZNK3c105Error4whatEv")
    assert "--force-reinstall torch torchaudio" in found.command


def test_package_that_imports():
    module = types.SimpleNamespace(__version__="1.2.3")
    assert doctor.package_finding(Trial("soxr", module)).text == "1.2.3"
    assert doctor.package_finding(Trial("soxr", object())).status == "ok"


def test_try_import_keeps_warnings_stderr_and_errors(tmp_path, monkeypatch):
    text = "import sys, warnings\nprint('to stderr', file=sys.stderr)\n"
    (tmp_path / "noisy_module.py").write_text(text + "warnings.warn('a warning')\n")
    (tmp_path / "broken_module.py").write_text(text + "raise OSError('no library')\n")
    monkeypatch.syspath_prepend(tmp_path)
    noisy = doctor.try_import("noisy_module")
    assert noisy.error is None
    assert noisy.module.__name__ == "noisy_module"
    assert "to stderr" in noisy.warnings
    assert "a warning" in noisy.warnings
    assert str(doctor.try_import("broken_module").error) == "no library"
    used = doctor.try_import("noisy_module", lambda module: module.absent)
    assert isinstance(used.error, AttributeError)


@pytest.mark.parametrize(
    ("version", "formats", "status"),
    [("1.2.2", {"WAV", "MP3"}, "ok"), ("1.0.31", {"WAV"}, "note")],
)
def test_mp3_finding(version, formats, status):
    found = doctor.mp3_finding(version, formats)
    assert found.status == status
    assert version in found.text
    assert ("soundfile" in found.command) == (status == "note")


@pytest.mark.parametrize(
    ("system", "environment", "command"),
    [
        ("Linux", {}, "sudo apt-get install ffmpeg"),
        ("Darwin", {}, "brew install ffmpeg"),
        ("Windows", {}, "winget install Gyan.FFmpeg"),
        ("Windows", {"CONDA_PREFIX": "C:/c"}, "conda install -c conda-forge ffmpeg"),
    ],
)
def test_missing_ffmpeg(system, environment, command):
    found = doctor.ffmpeg_finding(lambda name: None, system, environment)
    assert (found.status, found.command) == ("note", command)
    assert "no ffmpeg and no ffprobe: museval" in found.text
    here = doctor.ffmpeg_finding("/usr/bin/{}".format, system, environment)
    assert here == Finding("ffmpeg", "ok", "/usr/bin/ffmpeg")


# ---- the machine --------------------------------------------------------------------


def test_threads_that_leave_cores_idle():
    found = doctor.cores_finding(8, 15.6, {"OMP_NUM_THREADS": "1"})
    assert found.status == "note"
    assert found.command.split()[1].startswith("OMP_NUM_THREADS")
    assert doctor.cores_finding(8, 15.6, {}).text == "8 cores, 16 GiB memory"
    assert doctor.cores_finding(8, math.nan, {"OMP_NUM_THREADS": "8"}).status == "ok"


def test_disk_finding():
    assert doctor.disk_finding(2.0).status == "ok"
    full = doctor.disk_finding(0.4)
    assert full.status == "note"
    assert full.text.startswith("0.4 GiB")
    assert full.command.endswith("pip cache purge")


def test_data_finding(tmp_path):
    song = tmp_path / "test" / "雨天 #1"
    song.mkdir(parents=True)
    assert doctor.data_finding(tmp_path).status == "broken"
    for stem in ("vocals", "drums", "bass", "other"):
        (song / f"{stem}.ogg").touch()
    assert doctor.data_finding(tmp_path).text.startswith("1 songs")
    (song / "bass.ogg").unlink()
    found = doctor.data_finding(tmp_path)
    assert (found.status, found.text[:22]) == ("broken", "incomplete: 3 stems of")
    assert found.command.endswith("restore data")


# ---- GPU, driver and build ----------------------------------------------------------


def test_no_gpu_is_fine():
    assert gpu_finding(Gpu(build="13.0"), 10, {}).status == "ok"


def test_a_gpu_that_works():
    working = replace(AMPERE, works=True, free_gib=10.7)
    found = gpu_finding(working, 10, {})
    assert (found.status, found.text) == ("ok", "RTX 3060, 10.7 GiB free")
    apple = Gpu("Apple GPU", works=True)
    assert gpu_finding(apple, 10, {}) == Finding("gpu", "ok", "Apple GPU")


@pytest.mark.parametrize(
    ("gpu", "build"),
    [
        (AMPERE, "cu130"),
        (PASCAL, "cu126"),
        (replace(AMPERE, driver_cuda=12), "cu128"),
        (Gpu("A driver that does not name its CUDA"), "cu130"),
    ],
)
def test_a_cpu_only_pytorch_beside_a_gpu(gpu, build):
    found = gpu_finding(replace(gpu, build=None), 10, {})
    assert found.status == "broken"
    assert "CPU-only" in found.text
    wanted = f"torch torchaudio --extra-index-url {doctor.WHEELS}{build}"
    assert wanted in found.command


def test_a_driver_that_is_too_old():
    found = gpu_finding(replace(AMPERE, driver_cuda=12), 10, {})
    assert "driver is too old for PyTorch for CUDA 13.0" in found.text
    assert f"{doctor.WHEELS}cu128" in found.command
    found = gpu_finding(replace(AMPERE, driver_cuda=11), 10, {})
    assert "every build" in found.text
    assert found.command == doctor.DRIVERS


def test_a_build_without_code_for_the_gpu():
    found = gpu_finding(replace(PASCAL, works=False, error=NO_CODE), 10, {})
    assert "CUDA 13.0 has no code" in found.text
    assert f"{doctor.WHEELS}cu126" in found.command
    too_old = Gpu("Tesla K80", 12, (3, 7), build="12.6", works=False, error=NO_CODE)
    found = gpu_finding(too_old, 10, {})
    assert (found.status, found.command) == ("note", "")


def test_a_gpu_that_pytorch_does_not_find():
    hidden = gpu_finding(AMPERE, 10, {"CUDA_VISIBLE_DEVICES": ""})
    assert hidden.command.split()[1].startswith("CUDA_VISIBLE_DEVICES")
    assert "restart" in gpu_finding(AMPERE, 10, {}).command


def test_a_gpu_or_a_driver_that_fails():
    failed = gpu_finding(replace(AMPERE, works=False, error="uncorrectable"), 10, {})
    assert (failed.status, failed.command) == ("broken", "restart the computer")
    assert failed.text == "RTX 3060: uncorrectable"
    no_driver = Gpu("NVIDIA GPU", error="NVIDIA-SMI has failed")
    assert gpu_finding(no_driver, 10, {}).command == doctor.DRIVERS


def test_too_little_memory_names_a_segment_that_fits():
    small = replace(PASCAL, works=True, free_gib=1.5)
    found = gpu_finding(small, 60, {})
    assert found.status == "note"
    assert "1.5 GiB free; a segment of 60 s needs 2.6" in found.text
    assert found.command == "mssedu separate --segment 23 FILE"
    assert gpu_finding(small, 23, {}).status == "ok"
    full = gpu_finding(replace(small, free_gib=0.1), 10, {})
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


class FakeTorch:
    """A CUDA build of PyTorch on a machine with a GPU that may refuse to compute."""

    def __init__(self, error=None):
        def ones(*_, **__):
            if error:
                raise RuntimeError(error)
            return torch.ones(2)

        self.ones = ones
        self.version = types.SimpleNamespace(cuda="13.0")
        self.cuda = types.SimpleNamespace(
            is_available=lambda: True,
            get_device_name=lambda: "RTX 3060",
            mem_get_info=lambda: (3 * doctor.GIB, 12 * doctor.GIB),
        )
        mps = types.SimpleNamespace(is_available=lambda: False)
        self.backends = types.SimpleNamespace(mps=mps)


def test_pytorch_is_tried_on_the_gpu(answers):
    assert doctor.find_gpu(None).works is None
    found = doctor.find_gpu(FakeTorch())
    assert (found.name, found.works, found.free_gib) == ("RTX 3060", True, 3)
    found = doctor.find_gpu(FakeTorch(f"{NO_CODE}\nmore"))
    assert (found.works, found.error) == (False, NO_CODE)


# ---- commands -----------------------------------------------------------------------


def test_pip_install_pins_where_the_clone_has_pins(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "ROOT", tmp_path / "雨天 #1")
    assert doctor.pip_install("av").endswith("pip install av")
    doctor.ROOT.mkdir()
    pins = doctor.ROOT / "constraints.txt"
    pins.touch()
    assert doctor.pip_install("av").endswith(doctor.shell("-c", str(pins)))
    assert Path(sys.executable).name in doctor.pip_install("av")
