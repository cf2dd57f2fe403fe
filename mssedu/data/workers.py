"""Processes that work for this one: what each does when it begins."""

import os
import signal
from multiprocessing import parent_process
from threading import Thread

import torch


def start_worker(n_threads: int = 1) -> None:
    """Prepare a process of a pool; it ends with the process that started it.

    Args:
        n_threads: threads of PyTorch in this process.

    Example:
        >>> from concurrent.futures import ProcessPoolExecutor
        >>> pool = ProcessPoolExecutor(2, initializer=start_worker)
        >>> pool.shutdown()
    """
    torch.set_num_threads(n_threads)
    # Ctrl-C reaches all processes; the one that started them ends them in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that is killed cannot end its processes: they would wait forever.
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)
