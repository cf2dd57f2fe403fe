"""The command `mssedu doctor`: what this machine lacks, and the commands that fix it.

Each probe returns a `Finding`: ok, note (it works, with a limit) or broken. The exit
code is 3 if something is broken.
"""

import importlib
import importlib.metadata
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
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[2]  # the clone from which mssedu is installed
GIB = 2**30
NEEDED = ("numpy", "scipy", "soundfile", "av", "soxr", "jupyterlab", "anywidget")
# Package -> lowest version for the widgets, and the first that is too new. The page of
# ipywidgets 8 comes from jupyterlab_widgets 3.
WIDGETS = {"anywidget": ("0.9", "1"), "ipywidgets": ("8.1", "9")}
WIDGETS |= {"jupyterlab_widgets": ("3.0", "4")}
COLAB = "from google.colab import output; output.enable_custom_widget_manager()"
VS_CODE = "code --install-extension ms-toolsai.jupyter"
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


@dataclass(frozen=True)
class Finding:
    """The result of a probe."""

    status: Literal["ok", "note", "broken"]
    text: str
    command: str = ""  # fixes it


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
    for name, finding in findings.items():
        print(f"{finding.status:<7} {name:<12} {finding.text}")
        if finding.command:
            print(f"{'':<20} → {finding.command}")
    return 3 if any(each.status == "broken" for each in findings.values()) else 0


def diagnose(segment: float = 10.0) -> dict[str, Finding]:
    """A finding per probe; an error in a probe becomes a finding, too."""
    probes: dict[str, Callable[[], Finding]] = {"python": python_finding}
    probes |= {
        name: partial(package_finding, name) for name in ("torch", *NEEDED, *OPTIONAL)
    }
    probes |= {
        "widgets": widgets_finding,
        "mp3": mp3_finding,
        "ffmpeg": ffmpeg_finding,
        "gpu": lambda: gpu_finding(find_gpu(sys.modules.get("torch")), segment),
        "processor": processor_finding,
        "disk": disk_finding,
        "data": data_finding,
    }
    findings = {}
    for name, probe in probes.items():
        try:
            findings[name] = probe()
        except Exception as error:
            text = f"the check failed: {type(error).__name__}: {error}"
            findings[name] = Finding("broken", text, pip_install("-e", str(ROOT)))
    return findings


# ---- Python, packages and files -----------------------------------------------------


def python_finding() -> Finding:
    """Python 3.11 or later."""
    major, minor = sys.version_info[:2]
    text = f"{major}.{minor} on {platform.platform()}"
    if (major, minor) >= (3, 11):
        return Finding("ok", text)
    command = "conda env create -f environment-cpu.yml"
    return Finding("broken", f"{text}; 3.11 or later is needed", command)


def package_finding(name: str) -> Finding:
    """Whether a package can be imported, and whether it was compiled for this NumPy."""
    stderr, module, failure = io.StringIO(), None, None
    with warnings.catch_warnings(record=True) as caught, redirect_stderr(stderr):
        warnings.simplefilter("always")
        try:
            module = importlib.import_module(name)
            if name == "torch":  # it imports even if it was compiled for another NumPy
                module.zeros(1).numpy()
        except Exception as error:
            failure = error
    status: Literal["note", "broken"] = "note" if name in OPTIONAL else "broken"
    purpose = f" ({OPTIONAL[name]})" if name in OPTIONAL else ""
    shown = [stderr.getvalue(), str(failure), *(str(item.message) for item in caught)]
    if re.search(ABI_ERROR, "\n".join(shown).lower()):
        text = f"compiled for another NumPy than the installed one{purpose}"
        return Finding(status, text, pip_install("--force-reinstall", "numpy", name))
    if failure is None:
        return Finding("ok", getattr(module, "__version__", "imports"))
    if isinstance(failure, ModuleNotFoundError) and failure.name == name:
        return Finding(status, f"not installed{purpose}", pip_install(name))
    reason = str(failure).strip().partition("\n")[0]
    text = f"import fails{purpose}: {type(failure).__name__}: {reason}"
    # torchaudio is compiled for one release of torch, so both are reinstalled together.
    names = ("torch", name) if name == "torchaudio" else (name,)
    return Finding(status, text, pip_install("--force-reinstall", *names))


def widgets_finding() -> Finding:
    """Whether the packages of the widgets fit together, and what the editor needs."""
    found, wrong = [], []
    for name, (lowest, beyond) in WIDGETS.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is not installed")
            continue
        found.append(f"{name} {version}")
        if not _numbers(lowest) <= _numbers(version) < _numbers(beyond):
            wrong.append(f"{name} is {version}, not {lowest} or later before {beyond}")
    if wrong:
        needed = [f"{name}>={low},<{high}" for name, (low, high) in WIDGETS.items()]
        return Finding("broken", "; ".join(wrong), pip_install(*needed))
    text = ", ".join(found)
    if "COLAB_RELEASE_TAG" in os.environ:
        return Finding("note", f"{text}; Colab needs this in the first cell", COLAB)
    if os.environ.get("TERM_PROGRAM") == "vscode":
        return Finding("note", f"{text}; in VS Code see the README", VS_CODE)
    return Finding("ok", text)


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version: 8.1.9rc1 gives (8, 1, 9)."""
    parts = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, parts[0].split("."))) if parts else ()


def mp3_finding() -> Finding:
    """Whether libsndfile reads and writes MP3, as it does since version 1.1."""
    soundfile = importlib.import_module("soundfile")
    text = f"libsndfile {soundfile.__libsndfile_version__}"
    if "MP3" in soundfile.available_formats():
        return Finding("ok", text)
    command = pip_install("--force-reinstall", "soundfile")
    return Finding("note", f"{text} is too old to write MP3 files", command)


def ffmpeg_finding() -> Finding:
    """The programs ffmpeg and ffprobe: museval needs them, mssedu does not."""
    missing = [name for name in ("ffmpeg", "ffprobe") if shutil.which(name) is None]
    if not missing:
        return Finding("ok", str(shutil.which("ffmpeg")))
    commands = {
        "Linux": "sudo apt-get install ffmpeg",
        "Darwin": "brew install ffmpeg",
        "Windows": "winget install Gyan.FFmpeg",
    }
    command = commands.get(platform.system())
    if command is None or os.environ.get("CONDA_PREFIX"):
        command = "conda install -c conda-forge ffmpeg"
    text = f"no {' and no '.join(missing)}: museval cannot be imported"
    return Finding("note", text, command)


def processor_finding() -> Finding:
    """Cores and memory, and whether a setting keeps PyTorch from using the cores."""
    cores = os.cpu_count() or 1
    text = f"{cores} cores"
    if hasattr(os, "sysconf"):  # Python on Windows cannot find out the memory
        ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
        text += f", {ram:.0f} GiB memory"
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if not limit.isdigit() or int(limit) >= cores:
        return Finding("ok", text)
    text += f", but OMP_NUM_THREADS={limit} lets PyTorch use {limit}"
    return Finding("note", text, unset("OMP_NUM_THREADS"))


def disk_finding() -> Finding:
    """Free space for runs: checkpoints and separated songs."""
    free_gib = shutil.disk_usage(Path.cwd()).free / GIB
    if free_gib >= 2:
        return Finding("ok", f"{free_gib:.0f} GiB free")
    text = f"{free_gib:.1f} GiB free here; a few runs take 2 GiB"
    command = shell(sys.executable, "-m", "pip", "cache", "purge")
    return Finding("note", text, command)


def data_finding() -> Finding:
    """The songs that the package ships, with four stems each."""
    folder = ROOT / "data"
    stems = list(folder.glob("*/*/*.ogg"))
    songs = {stem.parent for stem in stems}
    if songs and len(stems) == 4 * len(songs):
        return Finding("ok", f"{len(songs)} songs in {folder}")
    text = f"incomplete: {len(stems)} stems of {len(songs)} songs in {folder}"
    command = shell("git", "-C", str(ROOT), "restore", "data")
    return Finding("broken", text, command)


# ---- GPU, driver and build ----------------------------------------------------------


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


def gpu_finding(gpu: Gpu, segment: float) -> Finding:
    """What keeps PyTorch from using the GPU; otherwise whether a segment fits."""
    if gpu.works:
        return segment_finding(gpu, segment)
    if not gpu.name:
        return Finding("ok", "none found; the CPU computes")
    no_code = "no kernel image" in gpu.error
    old = gpu.capability is not None and gpu.capability < RECENT_GPU
    builds = CUDA_BUILDS[-1:] if old or no_code else CUDA_BUILDS
    driver = gpu.driver_cuda or math.inf
    best = next((build for build in builds if int(build[2:4]) <= driver), None)
    # pip prefers the wheels of this index (+cu126) to those of PyPI
    index = ("--extra-index-url", f"{WHEELS}{best}")
    command = pip_install("--force-reinstall", "torch", "torchaudio", *index)
    if best is None:
        text, command = "its driver is too old for every build of PyTorch", DRIVERS
    elif no_code and str(gpu.build).replace(".", "") in best:
        return Finding("note", f"{gpu.name}: too old for PyTorch; use the CPU")
    elif no_code:
        text = f"PyTorch for CUDA {gpu.build} has no code for this GPU"
    elif gpu.error:  # of PyTorch, or of nvidia-smi, which needs a driver
        text, command = (
            gpu.error,
            DRIVERS if gpu.works is None else "restart the computer",
        )
    elif gpu.build is None:
        text = "not used, because the installed PyTorch is CPU-only"
    elif int(gpu.build.partition(".")[0]) > driver:
        text = f"its driver is too old for PyTorch for CUDA {gpu.build}"
    elif "CUDA_VISIBLE_DEVICES" in os.environ:
        text, command = "CUDA_VISIBLE_DEVICES hides it", unset("CUDA_VISIBLE_DEVICES")
    else:
        text = "PyTorch does not find it; perhaps a new driver needs a restart"
        command = "restart the computer"
    return Finding("broken", f"{gpu.name}: {text}", command)


def segment_finding(gpu: Gpu, segment: float) -> Finding:
    """Whether a segment fits into the free memory; otherwise the longest that fits."""
    if math.isnan(gpu.free_gib):
        return Finding("ok", gpu.name)
    need = REST_GIB + GIB_PER_SECOND * segment
    text = f"{gpu.name}, {gpu.free_gib:.1f} GiB free"
    if gpu.free_gib >= need:
        return Finding("ok", text)
    text += f"; a segment of {segment:g} s needs {need:.1f}"
    fitting = math.floor((gpu.free_gib - REST_GIB) / GIB_PER_SECOND)
    option = f"--segment {fitting}" if fitting >= 1 else "--device cpu"
    return Finding("note", text, f"mssedu separate {option} FILE")


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
