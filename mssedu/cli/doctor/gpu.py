"""NVIDIA GPU, driver and PyTorch wheel: whether they fit together, else what does.

A PyTorch wheel brings its own CUDA, which asks for a minimum driver and holds code for
certain generations of GPUs only. The wheels of PyTorch 2.11:

    wheels   driver   GPU generations, by compute capability
    cu126    ≥ 525    5.0 Maxwell, 6.x Pascal, 7.0 Volta … 8.6 Ampere
    cu128    ≥ 525    7.5 Turing … 12.0 Blackwell
    cu130    ≥ 580    7.5 Turing … 12.0 Blackwell; what pip takes by itself on Linux

Source: PyTorch, RELEASE.md, "PyTorch CUDA support matrix" for release 2.11; NVIDIA,
"CUDA compatibility", minor version compatibility, table 1.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mssedu.cli.doctor.finding import Finding, pip_install

WHEELS = "https://download.pytorch.org/whl/"
MIN_DRIVER = {11: 450, 12: 525, 13: 580}  # CUDA of the wheel -> first number of driver
OLDEST = (5, 0)  # compute capability that any wheel of the table has code for

# Forward pass of the larger paper model (spleeter, one song): 0.3 GiB and 0.03 GiB a
# second, measured as peak memory on a CPU; 0.5 GiB more for the CUDA context.
REST_GIB = 0.8
GIB_PER_SECOND = 0.03


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi tells; NaN or None where the driver does not say."""

    name: str
    driver: str
    free_gib: float
    capability: tuple[int, int] | None

    @property
    def driver_number(self) -> int:
        """The driver's branch: 580 of 580.95.05."""
        return int(self.driver.partition(".")[0])


@dataclass(frozen=True)
class TorchBuild:
    """What the installed PyTorch was built for."""

    cuda: str | None  # None: a CPU-only wheel
    architectures: tuple[str, ...] = ()  # sm_75 …; empty where PyTorch sees no GPU


def gpu_findings(
    answer: str | None, build: TorchBuild, segment: float, system: str
) -> list[Finding]:
    """For each GPU: what keeps PyTorch from using it, else whether a segment fits.

    Args:
        answer: what nvidia-smi said; None where there is no nvidia-smi.
        build: the installed PyTorch.
        segment: seconds that a model is given at once.
        system: platform.system().
    """
    if answer is None:
        return [Finding("gpu", "ok", "no nvidia-smi, so no NVIDIA driver to check")]
    gpus = parse_gpus(answer)
    if not gpus:
        seen = f"nvidia-smi finds none: {answer.partition(chr(10))[0]}"
        return [Finding("gpu", "broken", seen, update_driver(system))]
    probes = (driver_trap, cpu_only_trap, cuda_trap, architecture_trap)
    findings = []
    for gpu in gpus:
        traps = (probe(gpu, build, system) for probe in probes)
        trap = next((trap for trap in traps if trap), None)
        findings.append(trap or memory_finding(gpu, segment))
    return findings


def parse_gpus(answer: str) -> list[Gpu]:
    """The GPUs in nvidia-smi's lines: name, driver, free MiB, compute capability.

    Example:
        >>> parse_gpus("NVIDIA GeForce GTX 1050 Ti, 580.95.05, 3900, 6.1")[0].capability
        (6, 1)
    """
    gpus = []
    for line in answer.splitlines():
        name, driver, free, capability = [*line.split(", "), "", "", ""][:4]
        if driver.partition(".")[0].isdigit():
            major, _, minor = capability.partition(".")
            known = major.isdigit() and minor.isdigit()
            version = (int(major), int(minor)) if known else None
            free_gib = float(free) / 1024 if free.isdigit() else math.nan
            gpus.append(Gpu(name, driver, free_gib, version))
    return gpus


def driver_trap(gpu: Gpu, build: TorchBuild, system: str) -> Finding | None:
    """A driver, or a GPU, that is too old for every wheel of the table."""
    if gpu.capability and gpu.capability < OLDEST:
        return Finding("gpu", "note", f"{gpu.name}: too old; the CPU does the work")
    if gpu.driver_number >= MIN_DRIVER[12]:
        return None
    seen = f"{gpu.name}: driver {gpu.driver}, all wheels need {MIN_DRIVER[12]} or later"
    return Finding("gpu", "broken", seen, update_driver(system))


def cpu_only_trap(gpu: Gpu, build: TorchBuild, system: str) -> Finding | None:
    """A CPU-only PyTorch beside a GPU."""
    if build.cuda is not None:
        return None
    seen = f"{gpu.name}: idle, because the installed PyTorch is CPU-only"
    return Finding("gpu", "broken", seen, install_torch(gpu))


def cuda_trap(gpu: Gpu, build: TorchBuild, system: str) -> Finding | None:
    """A driver that is too old for the CUDA of this wheel, but not for another's."""
    needed = MIN_DRIVER.get(int(str(build.cuda).partition(".")[0]), 0)
    if gpu.driver_number >= needed:
        return None
    seen = (
        f"{gpu.name}: PyTorch for CUDA {build.cuda} needs driver {needed} or later, "
        f"here is {gpu.driver}"
    )
    return Finding("gpu", "broken", seen, install_torch(gpu))


def architecture_trap(gpu: Gpu, build: TorchBuild, system: str) -> Finding | None:
    """A wheel without code for this GPU, or one that does not see it at all."""
    if gpu.capability and build.architectures:
        lacks_code = not runs_on(gpu.capability, build.architectures)
    else:  # it may not even list a GPU that it has no code for
        lacks_code = wheels_for(gpu) == "cu126" and build.cuda != "12.6"
    if lacks_code:
        seen = f"{gpu.name}: no code for this GPU in PyTorch for CUDA {build.cuda}"
        return Finding("gpu", "broken", seen, install_torch(gpu))
    if build.architectures:
        return None
    seen = f"{gpu.name}: hidden by CUDA_VISIBLE_DEVICES, or a driver wants a restart"
    restart = "sudo reboot" if system == "Linux" else "shutdown /r /t 60"
    return Finding("gpu", "broken", seen, restart)


def runs_on(capability: tuple[int, int], architectures: Iterable[str]) -> bool:
    """Whether compiled code runs on a GPU: same major, no newer minor number.

    Code kept as PTX (compute_…) is translated for every later GPU.

    Example:
        >>> runs_on((8, 9), ["sm_75", "sm_86"]), runs_on((6, 1), ["sm_75", "sm_86"])
        (True, False)
    """
    for architecture in architectures:
        kind, _, number = architecture.partition("_")
        digits = "".join(filter(str.isdigit, number))  # sm_90a has a letter
        compiled = (int(digits[:-1]), int(digits[-1]))
        same = kind == "compute" or capability[0] == compiled[0]
        if same and capability >= compiled:
            return True
    return False


def wheels_for(gpu: Gpu) -> str:
    """The wheels that fit a GPU and its driver: see the table above.

    Example:
        >>> wheels_for(Gpu("GTX 1050 Ti", "580.95.05", 3.8, (6, 1)))
        'cu126'
    """
    if gpu.capability is not None and gpu.capability < (7, 5):
        return "cu126"
    return "cu128" if gpu.driver_number < MIN_DRIVER[13] else "cu130"


def memory_finding(gpu: Gpu, segment: float) -> Finding:
    """Whether the free memory holds one segment; else the longest that it holds."""
    need = REST_GIB + GIB_PER_SECOND * segment
    seen = f"{gpu.name}, driver {gpu.driver}, {gpu.free_gib:.1f} GiB free"
    if not gpu.free_gib < need:  # NaN, a driver that does not tell, is no trouble
        return Finding("gpu", "ok", seen)
    seen += f"; a segment of {segment:g} s needs {need:.1f}"
    fitting = math.floor((gpu.free_gib - REST_GIB) / GIB_PER_SECOND)
    if fitting < 1:
        return Finding("gpu", "note", seen, "mssedu separate --device cpu FILE")
    return Finding("gpu", "note", seen, f"mssedu separate --segment {fitting} FILE")


def install_torch(gpu: Gpu) -> str:
    """PyTorch from the index that fits; its wheels (+cu126) outrank the plain ones."""
    index = ("--extra-index-url", WHEELS + wheels_for(gpu))
    return pip_install("--force-reinstall", "torch", "torchaudio", *index)


def update_driver(system: str) -> str:
    """How to get a newer NVIDIA driver."""
    if system == "Linux":
        return (
            "sudo apt-get install nvidia-driver (Ubuntu: sudo ubuntu-drivers install)"
        )
    return "start https://www.nvidia.com/drivers"
