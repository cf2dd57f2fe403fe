"""What this machine has, and the exact command that mends each known trap.

Every probe is a small pure function: it is told the situation and answers with a
`Finding`, so that a test can put it into any situation. `diagnose` looks at the real
machine, asks the probes, and turns whatever goes wrong inside one into a finding.

    diagnose() ──▶ findings ──▶ report (text) and exit_code (0, or 3: something broken)

The traps around NVIDIA GPUs are told apart in gpu.py.
"""

import importlib
import io
import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssedu.cli.doctor.finding import ROOT, Finding, Status, pip_install, shell
from mssedu.cli.doctor.gpu import TorchBuild, gpu_findings

GIB = 2**30
STEMS = 4  # files of each song that the package ships

# What the package itself needs, and what only an extra needs: name -> for what
NEEDED = ("numpy", "scipy", "soundfile", "av", "soxr", "jupyterlab", "anywidget")
OPTIONAL = {"torchaudio": "mssedu itself works without it"}

# What an import says, as its error or on stderr, when it was compiled for NumPy 1
ABI_SIGNS = (
    "numpy.dtype size changed",
    "compiled using numpy 1",
    "_array_api not found",
    "multiarray failed to import",
    "numpy is not available",
)


@dataclass(frozen=True)
class Trial:
    """How an import went: the module, or the error; and what it said meanwhile."""

    name: str
    module: Any = None
    error: Exception | None = None
    noise: str = ""


def diagnose(segment: float = 10.0) -> list[Finding]:
    """Look at this machine: at least one finding a probe; never raises.

    Args:
        segment: seconds that a model is to be given at once on the GPU.
    """
    torch = try_import("torch", lambda module: module.zeros(1).numpy())
    trials = [torch, *map(try_import, (*NEEDED, *OPTIONAL))]
    system, environment = platform.system(), os.environ
    probes: dict[str, Callable[[], list[Finding]]] = {
        "python": lambda: [python_finding(sys.version_info, platform.platform())],
        "packages": lambda: [package_finding(trial) for trial in trials],
        "mp3": lambda: [mp3_finding(*sound_formats())],
        "ffmpeg": lambda: [ffmpeg_finding(shutil.which, system, environment)],
        "gpu": lambda: gpu_findings(
            ask_nvidia_smi(), torch_build(torch), segment, system
        ),
        "processor": lambda: [cores_finding(os.cpu_count() or 1, system, environment)],
        "disk": lambda: [disk_finding(shutil.disk_usage(Path.cwd()).free / GIB)],
        "data": lambda: [data_finding(ROOT / "data")],
    }
    return [finding for name in probes for finding in guarded(name, probes[name])]


def report(findings: Iterable[Finding]) -> str:
    """The findings as text: a line each, and below it the command that mends it.

    Example:
        >>> print(report([Finding("ffmpeg", "note", "none", "brew install ffmpeg")]))
        note    ffmpeg       none
                             → brew install ffmpeg
    """
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:<7} {finding.name:<12} {finding.seen}")
        if finding.command:
            lines.append(f"{'':<20} → {finding.command}")
    return "\n".join(lines)


def exit_code(findings: Iterable[Finding]) -> int:
    """3 if something is broken, else 0.

    Example:
        >>> exit_code([Finding("disk", "note", "little space left")])
        0
    """
    return 3 if any(finding.status == "broken" for finding in findings) else 0


# ---- looking at the machine ---------------------------------------------------------


def guarded(name: str, probe: Callable[[], list[Finding]]) -> list[Finding]:
    """What the probe finds; its own failure is a finding too."""
    try:
        return probe()
    except Exception as error:
        seen = f"could not be looked at: {type(error).__name__}: {error}"
        return [Finding(name, "broken", seen, pip_install("-e", str(ROOT)))]


def try_import(name: str, use: Callable[[Any], object] = lambda module: None) -> Trial:
    """Import a module, use it once, and keep what it says."""
    noise = io.StringIO()
    module, failure = None, None
    with warnings.catch_warnings(record=True) as caught, redirect_stderr(noise):
        warnings.simplefilter("always")
        try:
            module = importlib.import_module(name)
            use(module)
        except Exception as error:
            failure = error
    said = [noise.getvalue(), *(str(warning.message) for warning in caught)]
    return Trial(name, module, failure, "\n".join(said))


def torch_build(trial: Trial) -> TorchBuild:
    """What the imported PyTorch was built for, as far as it can tell."""
    if trial.module is None:
        return TorchBuild(None)
    with warnings.catch_warnings():  # an old driver or GPU warns here; we say it better
        warnings.simplefilter("ignore")
        architectures = tuple(trial.module.cuda.get_arch_list())
    return TorchBuild(trial.module.version.cuda, architectures)


def sound_formats() -> tuple[str, Collection[str]]:
    """Version of libsndfile and the formats that it handles."""
    soundfile = importlib.import_module("soundfile")
    return soundfile.__libsndfile_version__, soundfile.available_formats()


def ask_nvidia_smi() -> str | None:
    """What nvidia-smi says of the GPUs, one a line; None without nvidia-smi."""
    if shutil.which("nvidia-smi") is None:
        return None
    fields = "name,driver_version,memory.free"
    for query in (f"{fields},compute_cap", fields):  # old drivers lack compute_cap
        words = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
        answer = subprocess.run(words, capture_output=True, text=True, timeout=30)
        if answer.returncode == 0:
            break
    return (answer.stdout + answer.stderr).strip()


# ---- the probes ---------------------------------------------------------------------


def python_finding(version: Sequence[Any], system: str) -> Finding:
    """Python 3.11 or later."""
    seen = f"{version[0]}.{version[1]} on {system}"
    if tuple(version[:2]) >= (3, 11):
        return Finding("python", "ok", seen)
    command = "conda env create -f environment-cpu.yml"
    return Finding("python", "broken", f"{seen}; 3.11 or later is needed", command)


def package_finding(trial: Trial) -> Finding:
    """Whether a package imports, and whether it was compiled for this NumPy."""
    name = trial.name
    bad: Status = "note" if name in OPTIONAL else "broken"
    purpose = f" ({OPTIONAL[name]})" if name in OPTIONAL else ""
    said = f"{trial.error} {trial.noise}".lower()
    if any(sign in said for sign in ABI_SIGNS):
        seen = f"compiled for another NumPy than the one installed{purpose}"
        return Finding(name, bad, seen, pip_install("--force-reinstall", "numpy", name))
    if trial.error is None:
        return Finding(name, "ok", getattr(trial.module, "__version__", "imports"))
    if isinstance(trial.error, ModuleNotFoundError) and trial.error.name == name:
        return Finding(name, bad, f"not installed{purpose}", pip_install(name))
    reason = str(trial.error).strip().partition("\n")[0]
    seen = f"does not import{purpose}: {type(trial.error).__name__}: {reason}"
    # torchaudio is compiled for one release of torch: both are installed anew together
    names = ("torch", name) if name == "torchaudio" else (name,)
    return Finding(name, bad, seen, pip_install("--force-reinstall", *names))


def mp3_finding(version: str, formats: Collection[str]) -> Finding:
    """Whether libsndfile reads and writes mp3, as it does since version 1.1."""
    if "MP3" in formats:
        return Finding("mp3", "ok", f"libsndfile {version}")
    seen = f"libsndfile {version} is too old to write mp3 files"
    return Finding("mp3", "note", seen, pip_install("--force-reinstall", "soundfile"))


def ffmpeg_finding(
    which: Callable[[str], str | None], system: str, environment: Mapping[str, str]
) -> Finding:
    """ffmpeg and ffprobe, which museval asks for at import; mssedu itself does not."""
    missing = [name for name in ("ffmpeg", "ffprobe") if which(name) is None]
    if not missing:
        return Finding("ffmpeg", "ok", str(which("ffmpeg")))
    conda = "conda install -c conda-forge ffmpeg"
    commands = {
        "Linux": "sudo apt-get install ffmpeg",
        "Darwin": "brew install ffmpeg",
        "Windows": "winget install Gyan.FFmpeg",
    }
    in_conda = bool(environment.get("CONDA_PREFIX"))
    command = conda if in_conda else commands.get(system, conda)
    seen = f"no {' and no '.join(missing)}: museval cannot be imported"
    return Finding("ffmpeg", "note", seen, command)


def cores_finding(cores: int, system: str, environment: Mapping[str, str]) -> Finding:
    """Cores, and whether a setting keeps PyTorch from using them."""
    limit = environment.get("OMP_NUM_THREADS", "")
    if limit.isdigit() and int(limit) < cores:
        seen = f"{cores} cores, but OMP_NUM_THREADS={limit} lets PyTorch use {limit}"
        windows = system == "Windows"
        command = "set OMP_NUM_THREADS=" if windows else "unset OMP_NUM_THREADS"
        return Finding("processor", "note", seen, command)
    return Finding("processor", "ok", f"{cores} cores")


def disk_finding(free_gib: float) -> Finding:
    """Room for runs: checkpoints and separated songs."""
    if free_gib >= 2:
        return Finding("disk", "ok", f"{free_gib:.0f} GiB free")
    seen = f"{free_gib:.1f} GiB free here; a few runs take 2 GiB"
    return Finding(
        "disk", "note", seen, shell(sys.executable, "-m", "pip", "cache", "purge")
    )


def data_finding(folder: Path) -> Finding:
    """The songs that the package ships: four stems each."""
    stems = list(folder.glob("*/*/*.ogg"))
    songs = {stem.parent for stem in stems}
    if songs and len(stems) == STEMS * len(songs):
        return Finding("data", "ok", f"{len(songs)} songs in {folder}")
    seen = f"incomplete: {len(stems)} stems of {len(songs)} songs in {folder}"
    command = shell("git", "-C", str(ROOT), "restore", "data")
    return Finding("data", "broken", seen, command)
