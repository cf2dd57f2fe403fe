"""Signals that stop a run where its state is complete.

A cluster, `docker stop` and `kill` send SIGTERM before they end a program, Ctrl-C sends
SIGINT. Both act

    during a step or a save ──▶ once that is finished ─┐
    elsewhere, e.g. validation ──▶ at once ────────────┴─▶ KeyboardInterrupt, SystemExit
    the second time ──▶ at once, anywhere

Several processes that train together end after the same step: a signal to one of them
waits for the end of a step or of a validation, where all agree. Further signals change
nothing then, as torchrun and the cluster often send one each.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from mssedu.training.distributed import largest, n_processes

STOPS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Handles both signals while open, as a context manager.

    Outside the main thread, where Python handles no signals, it changes nothing. A
    signal that is ignored, as Ctrl-C is in a background job, stays ignored.
    """

    def __init__(self) -> None:
        self.received: int | None = None  # number of the newest signal
        # False while the run begins, and while a step or a save changes the state
        self.is_whole = False
        self._before: dict[int, Any] = {}  # the handlers to put back

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                if signal.getsignal(number) not in (None, signal.SIG_IGN):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def finish_first(self) -> Iterator[None]:
        """While open, the first signal waits; it takes effect when this closes."""
        self.is_whole = False
        yield
        self.is_whole = True  # not after an error: the step is half done then
        if self.agree():
            self.stop()

    def agree(self) -> bool:
        """Whether a signal has arrived, in any of the processes that train together."""
        self.received = int(largest(self.received or 0)) or None
        return self.received is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_first = self.received is None
        self.received = number
        if n_processes() == 1 and (self.is_whole or not is_first):
            self.stop()

    def stop(self) -> NoReturn:
        """Raise KeyboardInterrupt for SIGINT, and SystemExit for SIGTERM."""
        if self.received == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)  # the exit code that shells give it
        raise KeyboardInterrupt


@contextmanager
def signals_wait() -> Iterator[None]:
    """While open, signals wait, also in a process that is started now.

    So a Ctrl-C cannot reach it before it has called `leave_signals`.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals(worker: int) -> None:
    """Leave the signals to the training process, in a process that reads data.

    A terminal sends Ctrl-C to all processes, a cluster SIGTERM. Ctrl-C is ignored here,
    SIGTERM ends the process without a message; the training process ends it anyway.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
