"""Ctrl-C and SIGTERM end a training run where it can go on later.

    during a step or a save ──▶ once that is finished ─┐
    elsewhere, e.g. validation ──▶ at once ────────────┴─▶ KeyboardInterrupt, SystemExit
    the second time ──▶ at once, wherever it is

SIGTERM is what a cluster, `docker stop` and `kill` send before they end a program for
good. Processes that read data leave both signals to the training process. Notebook: 05.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

STOPS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """What has arrived, and whether the state of the run is whole at this moment."""

    def __init__(self) -> None:
        self.received: int | None = None  # number of the newest signal
        # False while the run begins, and while a step or a save changes the state
        self.is_whole = False

    @contextmanager
    def finish_first(self) -> Iterator[None]:
        """While open, the first signal waits; it takes effect when this closes."""
        self.is_whole = False
        yield
        self.is_whole = True  # not after an error: the step is half done then
        if self.received is not None:
            self.stop()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of both signals."""
        is_first = self.received is None
        self.received = number
        if self.is_whole or not is_first:
            self.stop()

    def stop(self) -> NoReturn:
        """Raise what the signal stands for.

        Raises:
            KeyboardInterrupt: SIGINT, as without this handler.
            SystemExit: SIGTERM, with the exit code 143 that shells give it.
        """
        if self.received == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Handle SIGINT and SIGTERM while open; afterwards all is as it was.

    Outside the main thread, where Python handles no signals, this changes nothing. A
    signal that is ignored, as Ctrl-C is in a background job, stays ignored.
    """
    signals, before = StopSignals(), {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                handler = signal.getsignal(number)
                if handler not in (None, signal.SIG_IGN):
                    before[number] = handler
                    signal.signal(number, signals.handle)
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---- processes that read data -------------------------------------------------------


@contextmanager
def signals_wait() -> Iterator[None]:
    """While open, signals wait. A process that is started now inherits this.

    So a Ctrl-C cannot meet it before it is ready, see `leave_signals`.
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
    """Make a process that reads data leave the signals to the training process.

    A terminal sends Ctrl-C to all of them, a cluster SIGTERM. The first is ignored, the
    second ends the process in silence; the training process ends it in both cases.

    Args:
        worker: its number, from DataLoader.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
