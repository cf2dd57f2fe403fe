"""A short spin for waiting threads of OpenMP, so that other processes can run.

A thread of torch that is done with its share of an operation waits for the others and
spins: it checks in a loop whether they are done. On an idle machine this saves the time
to wake up; on a busy one it takes time from other processes, and from the threads for
which it waits. After a short spin a thread sleeps instead; `python benchmarks/load.py`
measures both. OpenMP reads the environment once, when torch is loaded, so this file
imports no torch.
"""

import os
from collections.abc import MutableMapping

# Variables that a user may have set; each of them decides how long a thread spins
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SHORT = {
    "GOMP_SPINCOUNT": "1000",  # turns of a loop; libgomp, in torch for Linux
    "KMP_BLOCKTIME": "1",  # milliseconds, else 200; LLVM and Intel: macOS and Windows
}


def short_spin(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make the threads of torch spin for a short time only, unless the user chose.

    Call it before torch is loaded. Child processes inherit it.

    Example:
        >>> environment = {}
        >>> short_spin(environment)
        >>> environment["GOMP_SPINCOUNT"]
        '1000'
    """
    if not any(name in environment for name in SETTINGS):
        environment.update(SHORT)
