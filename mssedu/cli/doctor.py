"""The command `mssedu doctor`: what this machine lacks, and the commands that fix it.

    diagnose() ──▶ findings ──▶ report (text) and exit_code (0, or 3: something broken)

Each probe is a small function of plain values that returns a `Finding`, so that a test
can describe any machine.
"""

import importlib
import io
import math
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[2]  # the clone from which mssedu is installed
GIB = 2**30
NEEDED = ("numpy", "scipy", "soundfile", "av", "soxr", "jupyterlab", "anywidget")
OPTIONAL = {"torchaudio": "mssedu works without it"}
ABI_ERROR = "numpy.dtype size|compiled using numpy 1|_array_api|multiarray|numpy is not"

# CUDA builds of the torch version in constraints.txt, the newest first; cu130 needs a
# driver for CUDA 13. Only the last has code for compute capabilities below 7.5.
WHEELS = "https://download.pytorch.org/whl/"
CUDA_BUILDS = ("cu130", "cu128", "cu126")
RECENT_GPU = (7, 5)
DRIVERS = "https://www.nvidia.com/drivers"

# Spleeter, the largest paper model, takes 0.3 GiB and 0.03 GiB per second of audio at
# its peak; the CUDA context takes 0.5 GiB more.
REST_GIB, GIB_PER_SECOND = 0.8, 0.03

Status = Literal["ok", "note", "broken"]
Environment = Mapping[str, str]


@dataclass(frozen=True)
class Finding:
    """A line of the report: ok, note (works, with a limit) or broken (exit code 3)."""

    name: str
    status: Status
    text: str
    command: str = ""  # fixes it


@dataclass(frozen=True)
class Trial:
    """The result of an import: the module or the error, and all warnings."""

    name: str
    module: Any = None
    error: Exception | None = None
    warnings: str = ""


@dataclass(frozen=True)
class Gpu:
    """The GPU as PyTorch and nvidia-smi describe it."""

    name: str = ""  # empty without a GPU
    driver_cuda: int | None = None  # first number of the CUDA that the driver supports
    capability: tuple[int, int] | None = None  # compute capability; None: unknown
    build: str | None = None  # CUDA version of the PyTorch build; None: CPU only
    works: bool | None = None  # whether PyTorch can compute on it; None: it sees none
    error: str = ""  # of nvidia-smi or of the computation
    free_gib: float = math.nan


def doctor(segment: float = 10.0) -> int:
    """Show what this machine lacks, and the commands that fix it.

    Args:
        segment: Check the GPU memory for a model that reads so many seconds at once.
    """
    findings = diagnose(segment)
    print(report(findings))
    return exit_code(findings)


def diagnose(segment: float = 10.0) -> list[Finding]:
    """At least one finding per probe; an error in a probe becomes a finding, too."""
    torch = try_import("torch", lambda module: module.zeros(1).numpy())
    trials = [torch, *map(try_import, (*NEEDED, *OPTIONAL))]
    system, environment, cores = platform.system(), os.environ, os.cpu_count() or 1
    probes: dict[str, Callable[[], list[Finding]]] = {
        "python": lambda: [python_finding()],
        "packages": lambda: [package_finding(trial) for trial in trials],
        "mp3": lambda: [mp3_finding(*sound_formats())],
        "ffmpeg": lambda: [ffmpeg_finding(shutil.which, system, environment)],
        "gpu": lambda: [gpu_finding(find_gpu(torch.module), segment, environment)],
        "processor": lambda: [cores_finding(cores, ram_gib(), environment)],
        "disk": lambda: [disk_finding(shutil.disk_usage(Path.cwd()).free / GIB)],
        "data": lambda: [data_finding(ROOT / "data")],
    }
    return [finding for name in probes for finding in guarded(name, probes[name])]


def report(findings: Iterable[Finding]) -> str:
    """The findings as text: a line each, and below it the command that fixes it.

    Example:
        >>> print(report([Finding("ffmpeg", "note", "none", "brew install ffmpeg")]))
        note    ffmpeg       none
                             → brew install ffmpeg
    """
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:<7} {finding.name:<12} {finding.text}")
        if finding.command:
            lines.append(f"{'':<20} → {finding.command}")
    return "\n".join(lines)


def exit_code(findings: Iterable[Finding]) -> int:
    """3 if something is broken, otherwise 0."""
    return 3 if any(finding.status == "broken" for finding in findings) else 0


# ---- values of this machine ---------------------------------------------------------


def guarded(name: str, probe: Callable[[], list[Finding]]) -> list[Finding]:
    """The findings of a probe, or its error as a finding."""
    try:
        return probe()
    except Exception as error:
        text = f"the check failed: {type(error).__name__}: {error}"
        return [Finding(name, "broken", text, pip_install("-e", str(ROOT)))]


def try_import(name: str, use: Callable[[Any], object] = lambda module: None) -> Trial:
    """Import a module, use it once, and record errors and warnings."""
    stderr, module, failure = io.StringIO(), None, None
    with warnings.catch_warnings(record=True) as caught, redirect_stderr(stderr):
        warnings.simplefilter("always")
        try:
            module = importlib.import_module(name)
            use(module)
        except Exception as error:
            failure = error
    texts = [stderr.getvalue(), *(str(warning.message) for warning in caught)]
    return Trial(name, module, failure, "\n".join(texts))


def sound_formats() -> tuple[str, Collection[str]]:
    """Version of libsndfile and the formats that it supports."""
    soundfile = importlib.import_module("soundfile")
    return soundfile.__libsndfile_version__, soundfile.available_formats()


def ram_gib() -> float:
    """Memory of the machine; NaN where Python cannot find out, such as on Windows."""
    if not hasattr(os, "sysconf"):
        return math.nan
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB


def find_gpu(torch: Any) -> Gpu:
    """Ask nvidia-smi and PyTorch (None if it cannot be imported) for the GPU."""
    gpu = ask_nvidia_smi()
    if torch is None:
        return gpu
    with warnings.catch_warnings():  # PyTorch warns of an old driver or GPU
        warnings.simplefilter("ignore")
        gpu = replace(gpu, build=torch.version.cuda)
        if torch.backends.mps.is_available():
            kind, gpu = "mps", replace(gpu, name="Apple GPU")
        elif torch.cuda.is_available():
            kind, gpu = "cuda", replace(gpu, name=torch.cuda.get_device_name())
        else:
            return gpu
        try:
            (torch.ones(2, device=kind) + 1).cpu()
        except RuntimeError as error:
            return replace(gpu, works=False, error=str(error).partition("\n")[0])
        free = torch.cuda.mem_get_info()[0] / GIB if kind == "cuda" else math.nan
    return replace(gpu, works=True, free_gib=free)


def ask_nvidia_smi() -> Gpu:
    """The first NVIDIA GPU and its driver."""
    if shutil.which("nvidia-smi") is None:
        return Gpu()
    overview, names = _run("nvidia-smi"), _run("nvidia-smi", "-L")
    name = re.search(r"GPU 0: (.+?) \(UUID", names)
    if name is None:
        return Gpu("NVIDIA GPU", error=overview.partition("\n")[0])
    cuda = re.search(r"CUDA[^:|]*Version: *(\d+)", overview)
    query = _run("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader")
    digits = re.match(r"(\d+)\.(\d+)", query)  # an old driver prints an error
    capability = (int(digits[1]), int(digits[2])) if digits else None
    return Gpu(name[1], int(cuda[1]) if cuda else None, capability)


def _run(*words: str) -> str:
    answer = subprocess.run(words, capture_output=True, text=True, timeout=30)
    return answer.stdout + answer.stderr


# ---- probes -------------------------------------------------------------------------


def python_finding(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Python 3.11 or later."""
    text = f"{version[0]}.{version[1]} on {platform.platform()}"
    if version >= (3, 11):
        return Finding("python", "ok", text)
    command = "conda env create -f environment-cpu.yml"
    return Finding("python", "broken", f"{text}; 3.11 or later is needed", command)


def package_finding(trial: Trial) -> Finding:
    """Whether a package can be imported, and whether it was compiled for this NumPy."""
    name = trial.name
    status: Status = "note" if name in OPTIONAL else "broken"
    purpose = f" ({OPTIONAL[name]})" if name in OPTIONAL else ""
    if re.search(ABI_ERROR, f"{trial.error} {trial.warnings}".lower()):
        text = f"compiled for another NumPy than the installed one{purpose}"
        command = pip_install("--force-reinstall", "numpy", name)
        return Finding(name, status, text, command)
    if trial.error is None:
        return Finding(name, "ok", getattr(trial.module, "__version__", "imports"))
    if isinstance(trial.error, ModuleNotFoundError) and trial.error.name == name:
        return Finding(name, status, f"not installed{purpose}", pip_install(name))
    reason = str(trial.error).strip().partition("\n")[0]
    text = f"import fails{purpose}: {type(trial.error).__name__}: {reason}"
    # torchaudio is compiled for one release of torch, so both are reinstalled together.
    names = ("torch", name) if name == "torchaudio" else (name,)
    return Finding(name, status, text, pip_install("--force-reinstall", *names))


def mp3_finding(version: str, formats: Collection[str]) -> Finding:
    """Whether libsndfile reads and writes MP3, as it does since version 1.1."""
    if "MP3" in formats:
        return Finding("mp3", "ok", f"libsndfile {version}")
    text = f"libsndfile {version} is too old to write MP3 files"
    return Finding("mp3", "note", text, pip_install("--force-reinstall", "soundfile"))


def ffmpeg_finding(
    which: Callable[[str], str | None], system: str, environment: Environment
) -> Finding:
    """The programs ffmpeg and ffprobe: museval needs them, mssedu does not."""
    missing = [name for name in ("ffmpeg", "ffprobe") if which(name) is None]
    if not missing:
        return Finding("ffmpeg", "ok", str(which("ffmpeg")))
    conda = "conda install -c conda-forge ffmpeg"
    commands = {
        "Linux": "sudo apt-get install ffmpeg",
        "Darwin": "brew install ffmpeg",
        "Windows": "winget install Gyan.FFmpeg",
    }
    command = conda if environment.get("CONDA_PREFIX") else commands.get(system, conda)
    text = f"no {' and no '.join(missing)}: museval cannot be imported"
    return Finding("ffmpeg", "note", text, command)


def gpu_finding(gpu: Gpu, segment: float, environment: Environment) -> Finding:
    """What keeps PyTorch from using the GPU; otherwise whether a segment fits."""
    if gpu.works:
        return segment_finding(gpu, segment)
    if not gpu.name:
        return Finding("gpu", "ok", "none found; the CPU computes")
    best, build = fitting_build(gpu), f"PyTorch for CUDA {gpu.build}"
    command = "restart the computer"
    if best is None:
        text, command = "its driver is too old for every build of PyTorch", DRIVERS
    elif "no kernel image" in gpu.error and str(gpu.build).replace(".", "") in best:
        return Finding("gpu", "note", f"{gpu.name}: too old for PyTorch; use the CPU")
    elif "no kernel image" in gpu.error:
        text, command = f"{build} has no code for this GPU", install_torch(best)
    elif gpu.error:  # of PyTorch, or of nvidia-smi, which needs a driver
        text, command = gpu.error, DRIVERS if gpu.works is None else command
    elif gpu.build is None:
        text = "not used, because the installed PyTorch is CPU-only"
        command = install_torch(best)
    elif int(gpu.build.partition(".")[0]) > (gpu.driver_cuda or math.inf):
        text, command = f"its driver is too old for {build}", install_torch(best)
    elif "CUDA_VISIBLE_DEVICES" in environment:
        text, command = "CUDA_VISIBLE_DEVICES hides it", unset("CUDA_VISIBLE_DEVICES")
    else:
        text = "PyTorch does not find it; perhaps a new driver needs a restart"
    return Finding("gpu", "broken", f"{gpu.name}: {text}", command)


def fitting_build(gpu: Gpu) -> str | None:
    """The newest of CUDA_BUILDS for a GPU and its driver; None if there is none.

    Example:
        >>> fitting_build(Gpu("GTX 1050 Ti", driver_cuda=13, capability=(6, 1)))
        'cu126'
    """
    old = gpu.capability is not None and gpu.capability < RECENT_GPU
    builds = CUDA_BUILDS[-1:] if old or "no kernel" in gpu.error else CUDA_BUILDS
    driver = gpu.driver_cuda or math.inf
    return next((build for build in builds if int(build[2:4]) <= driver), None)


def segment_finding(gpu: Gpu, segment: float) -> Finding:
    """Whether a segment fits into the free memory; otherwise the longest that fits."""
    if math.isnan(gpu.free_gib):
        return Finding("gpu", "ok", gpu.name)
    need = REST_GIB + GIB_PER_SECOND * segment
    text = f"{gpu.name}, {gpu.free_gib:.1f} GiB free"
    if gpu.free_gib >= need:
        return Finding("gpu", "ok", text)
    text += f"; a segment of {segment:g} s needs {need:.1f}"
    fitting = math.floor((gpu.free_gib - REST_GIB) / GIB_PER_SECOND)
    option = f"--segment {fitting}" if fitting >= 1 else "--device cpu"
    return Finding("gpu", "note", text, f"mssedu separate {option} FILE")


def cores_finding(cores: int, ram: float, environment: Environment) -> Finding:
    """Cores and memory, and whether a setting keeps PyTorch from using the cores."""
    text = f"{cores} cores" + ("" if math.isnan(ram) else f", {ram:.0f} GiB memory")
    limit = environment.get("OMP_NUM_THREADS", "")
    if not limit.isdigit() or int(limit) >= cores:
        return Finding("processor", "ok", text)
    text += f", but OMP_NUM_THREADS={limit} lets PyTorch use {limit}"
    return Finding("processor", "note", text, unset("OMP_NUM_THREADS"))


def disk_finding(free_gib: float) -> Finding:
    """Free space for runs: checkpoints and separated songs."""
    if free_gib >= 2:
        return Finding("disk", "ok", f"{free_gib:.0f} GiB free")
    text = f"{free_gib:.1f} GiB free here; a few runs take 2 GiB"
    command = shell(sys.executable, "-m", "pip", "cache", "purge")
    return Finding("disk", "note", text, command)


def data_finding(folder: Path) -> Finding:
    """The songs that the package ships, with four stems each."""
    stems = list(folder.glob("*/*/*.ogg"))
    songs = {stem.parent for stem in stems}
    if songs and len(stems) == 4 * len(songs):
        return Finding("data", "ok", f"{len(songs)} songs in {folder}")
    text = f"incomplete: {len(stems)} stems of {len(songs)} songs in {folder}"
    command = shell("git", "-C", str(ROOT), "restore", "data")
    return Finding("data", "broken", text, command)


# ---- commands that fix what is wrong ------------------------------------------------


def shell(*words: str) -> str:
    """Words as one command line of this system, quoted where necessary."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def unset(variable: str) -> str:
    """The command that removes an environment variable."""
    return f"set {variable}=" if os.name == "nt" else f"unset {variable}"


def pip_install(*words: str) -> str:
    """A pip install into the running Python, with the pinned versions of the clone."""
    pins = ROOT / "constraints.txt"
    constrained = ("-c", str(pins)) if pins.exists() else ()
    return shell(sys.executable, "-m", "pip", "install", *words, *constrained)


def install_torch(build: str) -> str:
    """PyTorch from an index whose wheels (+cu126) pip prefers to those of PyPI."""
    index = ("--extra-index-url", WHEELS + build)
    return pip_install("--force-reinstall", "torch", "torchaudio", *index)
