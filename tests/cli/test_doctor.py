"""Every trap of `mssedu doctor`, by putting its probe into the situation."""

import subprocess
import sys
import types
from pathlib import Path

import pytest

from mssedu.cli import doctor
from mssedu.cli.doctor import Finding, Trial, finding, gpu
from mssedu.cli.doctor.gpu import TorchBuild

CU130 = TorchBuild("13.0", ("sm_75", "sm_80", "sm_86", "sm_90", "sm_120"))
CU126 = TorchBuild("12.6", ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86"))
AMPERE = "NVIDIA GeForce RTX 3060, 580.95.05, 11000, 8.6"
PASCAL = "NVIDIA GeForce GTX 1050 Ti, 580.95.05, 3900, 6.1"


def only(answer, build=CU130, segment=10.0, system="Linux"):
    """The one finding about the one GPU of nvidia-smi's answer."""
    (found,) = gpu.gpu_findings(answer, build, segment, system)
    return found


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
    assert "could not be looked at: OSError: no such device" in found.seen
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
    ("version", "status"), [((3, 10, 4), "broken"), ((3, 11), "ok"), ((3, 13), "ok")]
)
def test_python_finding(version, status):
    assert doctor.python_finding(version, "Linux").status == status


@pytest.mark.parametrize(
    ("error", "noise"),
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
def test_package_compiled_for_another_numpy(error, noise):
    found = doctor.package_finding(Trial("soxr", None, error, noise))
    assert found.status == "broken"
    assert "compiled for another NumPy" in found.seen
    assert "pip install --force-reinstall numpy soxr" in found.command


def test_package_that_is_not_installed():
    error = ModuleNotFoundError("No module named 'av'", name="av")
    found = doctor.package_finding(Trial("av", None, error))
    assert (found.status, found.seen) == ("broken", "not installed")
    assert "pip install av" in found.command


def test_package_that_misses_another_is_not_called_missing_itself():
    error = ModuleNotFoundError("No module named 'numba'", name="numba")
    found = doctor.package_finding(Trial("scipy", None, error))
    assert "does not import: ModuleNotFoundError: No module named 'numba'" in found.seen


def test_torchaudio_that_does_not_import_is_a_note():
    error = OSError("libtorchaudio.so: undefined symbol: _ZNK3c105Error4whatEv\nmore")
    found = doctor.package_finding(Trial("torchaudio", None, error))
    assert found.status == "note"
    assert "mssedu itself works without it" in found.seen
    assert found.seen.endswith("undefined symbol: _ZNK3c105Error4whatEv")
    assert "--force-reinstall torch torchaudio" in found.command


def test_package_that_imports():
    module = types.SimpleNamespace(__version__="1.2.3")
    assert doctor.package_finding(Trial("soxr", module)).seen == "1.2.3"
    assert doctor.package_finding(Trial("soxr", object())).status == "ok"


def test_try_import_keeps_warnings_stderr_and_errors(tmp_path, monkeypatch):
    text = "import sys, warnings\nprint('to stderr', file=sys.stderr)\n"
    (tmp_path / "noisy_module.py").write_text(text + "warnings.warn('a warning')\n")
    (tmp_path / "broken_module.py").write_text(text + "raise OSError('no library')\n")
    monkeypatch.syspath_prepend(tmp_path)
    noisy = doctor.try_import("noisy_module")
    assert noisy.error is None
    assert noisy.module.__name__ == "noisy_module"
    assert "to stderr" in noisy.noise
    assert "a warning" in noisy.noise
    assert str(doctor.try_import("broken_module").error) == "no library"
    used = doctor.try_import("noisy_module", lambda module: module.absent)
    assert isinstance(used.error, AttributeError)


def test_torch_that_does_not_import_counts_as_cpu_only():
    assert doctor.torch_build(Trial("torch", None, OSError("x"))) == TorchBuild(None)


@pytest.mark.parametrize(
    ("version", "formats", "status"),
    [("1.2.2", {"WAV", "MP3"}, "ok"), ("1.0.31", {"WAV"}, "note")],
)
def test_mp3_finding(version, formats, status):
    found = doctor.mp3_finding(version, formats)
    assert found.status == status
    assert version in found.seen
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
    assert "no ffmpeg and no ffprobe: museval" in found.seen
    here = doctor.ffmpeg_finding("/usr/bin/{}".format, system, environment)
    assert here == Finding("ffmpeg", "ok", "/usr/bin/ffmpeg")


# ---- the machine --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "command"),
    [("Linux", "unset OMP_NUM_THREADS"), ("Windows", "set OMP_NUM_THREADS=")],
)
def test_threads_that_leave_cores_idle(system, command):
    found = doctor.cores_finding(8, system, {"OMP_NUM_THREADS": "1"})
    assert (found.status, found.command) == ("note", command)
    assert doctor.cores_finding(8, system, {}).status == "ok"
    assert doctor.cores_finding(8, system, {"OMP_NUM_THREADS": "8"}).status == "ok"


def test_disk_finding():
    assert doctor.disk_finding(2.0).status == "ok"
    full = doctor.disk_finding(0.4)
    assert full.status == "note"
    assert full.seen.startswith("0.4 GiB")
    assert full.command.endswith("pip cache purge")


def test_data_finding(tmp_path):
    song = tmp_path / "test" / "雨天 #1"
    song.mkdir(parents=True)
    assert doctor.data_finding(tmp_path).status == "broken"
    for stem in ("vocals", "drums", "bass", "other"):
        (song / f"{stem}.ogg").touch()
    assert doctor.data_finding(tmp_path).seen.startswith("1 songs")
    (song / "bass.ogg").unlink()
    found = doctor.data_finding(tmp_path)
    assert (found.status, found.seen[:22]) == ("broken", "incomplete: 3 stems of")
    assert found.command.endswith("restore data")


# ---- GPU, driver and wheel ----------------------------------------------------------


def test_no_nvidia_smi_is_fine():
    assert only(None).status == "ok"


def test_nvidia_smi_that_finds_no_gpu():
    found = only("NVIDIA-SMI has failed because it couldn't communicate\nwith …")
    assert found.status == "broken"
    assert found.seen.endswith("couldn't communicate")
    assert "apt-get install nvidia-driver" in found.command


def test_gpu_that_fits():
    found = only(AMPERE)
    assert found.status == "ok"
    assert "driver 580.95.05, 10.7 GiB free" in found.seen
    assert only(PASCAL, CU126).status == "ok"


@pytest.mark.parametrize(
    ("answer", "wheels"),
    [
        (AMPERE, "cu130"),
        (PASCAL, "cu126"),
        ("Tesla V100, 550.1, 16000, 7.0", "cu126"),
        ("NVIDIA GeForce RTX 3060, 550.1, 11000, 8.6", "cu128"),
        ("Some GPU of an old driver, 530.1, 11000", "cu128"),
    ],
)
def test_cpu_only_torch_beside_a_gpu(answer, wheels):
    found = only(answer, TorchBuild(None))
    assert found.status == "broken"
    assert "PyTorch is CPU-only" in found.seen
    assert f"torch torchaudio --extra-index-url {gpu.WHEELS}{wheels}" in found.command


def test_driver_too_old_for_the_wheel():
    found = only("NVIDIA GeForce RTX 3060, 550.1, 11000, 8.6", TorchBuild("13.0"))
    assert "for CUDA 13.0 needs driver 580 or later, here is 550.1" in found.seen
    assert found.command.split().count(f"{gpu.WHEELS}cu128") == 1


@pytest.mark.parametrize("system", ["Linux", "Windows"])
def test_driver_too_old_for_every_wheel(system):
    found = only("NVIDIA GeForce RTX 2060, 470.82, 5000", system=system)
    assert found.status == "broken"
    assert "driver 470.82, all wheels need 525 or later" in found.seen
    assert ("apt-get" in found.command) == (system == "Linux")


def test_gpu_too_old_for_every_wheel_is_a_note():
    found = only("Tesla K80, 470.82, 11000, 3.7")
    assert (found.status, found.command) == ("note", "")


@pytest.mark.parametrize("build", [CU130, TorchBuild("13.0")])
def test_wheel_without_code_for_the_gpu(build):
    found = only(PASCAL, build)
    assert found.status == "broken"
    assert "no code for this GPU in PyTorch for CUDA 13.0" in found.seen
    assert f"{gpu.WHEELS}cu126" in found.command


@pytest.mark.parametrize(
    ("system", "command"), [("Linux", "sudo reboot"), ("Windows", "shutdown /r /t 60")]
)
def test_gpu_that_torch_does_not_see(system, command):
    found = only(AMPERE, TorchBuild("13.0"), system=system)
    assert (found.status, found.command) == ("broken", command)
    assert "hidden by CUDA_VISIBLE_DEVICES" in found.seen


@pytest.mark.parametrize(
    ("capability", "architectures", "runs"),
    [
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_90a"], True),
        ((12, 1), ["sm_120"], True),
        ((12, 0), ["sm_90"], False),
        ((12, 0), ["compute_90"], True),
        ((7, 0), [], False),
    ],
)
def test_runs_on(capability, architectures, runs):
    assert gpu.runs_on(capability, architectures) is runs


def test_no_memory_for_a_chosen_segment_names_one_that_fits():
    answer = "NVIDIA GeForce GTX 1050 Ti, 580.95.05, 1536, 6.1"  # 1.5 GiB
    found = only(answer, CU126, segment=60.0)
    assert found.status == "note"
    assert "1.5 GiB free; a segment of 60 s needs 2.6" in found.seen
    assert found.command == "mssedu separate --segment 23 FILE"
    assert only(answer, CU126, segment=23.0).status == "ok"


def test_no_memory_at_all_sends_to_the_cpu():
    found = only("NVIDIA GeForce RTX 3060, 580.95.05, 100, 8.6")
    assert found.command == "mssedu separate --device cpu FILE"


def test_memory_that_the_driver_does_not_tell_is_no_trouble():
    assert only("NVIDIA GB10, 580.95.05, [N/A], 12.1").status == "ok"


def test_every_gpu_gets_its_finding():
    findings = gpu.gpu_findings(f"{AMPERE}\n{PASCAL}", CU130, 10.0, "Linux")
    assert [found.status for found in findings] == ["ok", "broken"]


def test_nvidia_smi_is_asked_again_without_what_an_old_driver_lacks(monkeypatch):
    asked = []

    def run(words, **options):
        asked.append(words[1])
        lacks = "compute_cap" in words[1]
        said = 'Field "compute_cap" is not valid' if lacks else "GTX 970, 470.1, 3000"
        return types.SimpleNamespace(returncode=int(lacks), stdout=said, stderr="")

    monkeypatch.setattr(doctor.shutil, "which", lambda name: name)
    monkeypatch.setattr(doctor.subprocess, "run", run)
    assert doctor.ask_nvidia_smi() == "GTX 970, 470.1, 3000"
    assert len(asked) == 2
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor.ask_nvidia_smi() is None


# ---- commands -----------------------------------------------------------------------


def test_pip_install_pins_where_the_clone_has_pins(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "ROOT", tmp_path / "雨天 #1")
    assert finding.pip_install("av").endswith("pip install av")
    finding.ROOT.mkdir()
    pins = finding.ROOT / "constraints.txt"
    pins.touch()
    assert finding.pip_install("av").endswith(finding.shell("-c", str(pins)))
    assert Path(sys.executable).name in finding.pip_install("av")
