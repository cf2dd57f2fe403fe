"""Waiting threads of OpenMP: a short spin, so that other processes get the processor.

torch shares the work of one operation among threads. A thread that is done waits for
the others and spins: it asks again and again whether they are done. On a machine that
does nothing else, that saves the time to wake up. On a busy machine, it takes the time
of other processes, and of the very threads it waits for. After a short spin a thread
sleeps instead. `python benchmarks/load.py` measures both.

OpenMP reads the environment once, when torch is loaded. Nothing here imports torch.
"""

import os
from collections.abc import MutableMapping

# What a user may have set: each of them tells how long a thread spins.
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SHORT = {
    "GOMP_SPINCOUNT": "1000",  # turns of a loop; libgomp, in torch for Linux
    "KMP_BLOCKTIME": "1",  # milliseconds, else 200; LLVM and Intel: macOS and Windows
}


def short_spin(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let the threads of torch spin for a short time only, unless the user chose.

    Call it before torch is loaded. The processes that this one starts inherit it.

    Args:
        environment: of this process, or one that a process will be started with.

    Example:
        >>> environment = {}
        >>> short_spin(environment)
        >>> environment["GOMP_SPINCOUNT"]
        '1000'
        >>> chosen = {"OMP_WAIT_POLICY": "active"}
        >>> short_spin(chosen)
        >>> chosen
        {'OMP_WAIT_POLICY': 'active'}
    """
    if not any(name in environment for name in SETTINGS):
        environment.update(SHORT)
