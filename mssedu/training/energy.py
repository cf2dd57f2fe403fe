"""The energy that a GPU has taken, from the library of NVIDIA's driver.

The driver counts millijoules of the whole card since it was loaded (NVML's function
nvmlDeviceGetTotalEnergyConsumption, since the generation Volta). Other programs on the
same card count, too. Where there is no such counter, the energy is unknown.
"""

import ctypes
import functools
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from mssedu.training.budget import Stopwatch

LIBRARIES = ("libnvidia-ml.so.1", "nvml.dll")


def stopwatch(
    device: torch.device, before: Mapping[str, float] | None = None
) -> Stopwatch:
    """A stopwatch for a run on this device, with the energy counter of its card."""
    if device.type != "cuda":
        return Stopwatch(device.type, before)
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    return Stopwatch(device.type, before, partial(energy_joules, uuid))


def energy_joules(uuid: str) -> float | None:
    """Energy of a card so far, in joules; None if the driver does not tell it.

    Args:
        uuid: of the card, as `nvidia-smi -L` and torch.cuda's device properties have
            it, with or without "GPU-" in front.

    Example:
        >>> energy_joules("no card has this name") is None
        True
    """
    library = _library()
    if library is None:
        return None
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    name = uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"
    failed = library.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle))
    failed = failed or library.nvmlDeviceGetTotalEnergyConsumption(
        handle, ctypes.byref(millijoules)
    )
    return None if failed else millijoules.value / 1000


@functools.cache
def _library() -> Any:
    """NVML, ready to be asked; None without a driver."""
    for name in LIBRARIES:
        try:
            library = ctypes.CDLL(name)
            return None if library.nvmlInit_v2() else library
        except (OSError, AttributeError):
            continue
    return None
