"""What the command line prints: plain lines, failures, and progress with time left."""

import io
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from rich import progress as bars
from rich.console import Console
from rich.markup import escape

from mssedu.errors import MssEduWarning

FIRST_LINE, NEXT_LINE = 10.0, 30.0  # seconds until progress is told without a terminal
READER_GONE = 141  # exit code, as of programs that SIGPIPE ends


class Output(Console):
    """A console that passes on the error of a pipe that nobody reads any more."""

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError again, where rich would end the program."""
        raise


out = Output(soft_wrap=True)  # a path or command stays in one piece
err = Output(stderr=True, soft_wrap=True)


def say(line: str) -> None:
    """Print a line as it is: no markup, no colors in paths and numbers."""
    out.print(line, markup=False, highlight=False)


def report_failure(kind: str, text: str) -> None:
    """A line on stderr: what kind of failure, and the message as it is."""
    err.print(f"[red]{kind:<8}[/]", escape(text), highlight=False)


def drop_output() -> int:
    """Send the rest of the output nowhere, as its reader has gone; the exit code.

    Python writes what is left as it ends, when nobody could catch the error.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            with suppress(io.UnsupportedOperation):  # a stream without a file
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
    return READER_GONE


# ---- progress -----------------------------------------------------------------------


@contextmanager
def bar(label: str) -> Iterator[Callable[..., None]]:
    """Show progress and the time left: a bar on a terminal, else a line now and then.

    Args:
        label: what is being done.

    Yields:
        update(done, total, note): to be called after each step; the total may be None.
    """
    if not (err.is_interactive and err.file.isatty()):  # some CI forces colors
        yield _Lines(label).update
        return
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[note]}"),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=err) as shown:
        task = shown.add_task(escape(label), total=None, note="")

        def update(done: int, total: int | None, note: str = "") -> None:
            shown.update(task, completed=done, total=total, note=escape(note))

        try:
            yield update
        except BaseException:
            shown.live.transient = True  # the bar goes, the error stays
            raise


class _Lines:
    """Progress without a terminal, such as in a log file: few lines, no codes."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.next_line = time.monotonic() + FIRST_LINE
        self.first: tuple[float, int] | None = None  # time and count of the first step

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Print a line, if it is time for the next one."""
        now = time.monotonic()
        left = self._seconds_left(now, done, total)
        if now < self.next_line:
            return
        self.next_line = now + NEXT_LINE
        parts = [f"{self.label}: {done}" + (f" of {total}" if total else "")]
        parts += [note] if note else []
        parts += [f"{_rounded(left)} left"] if left is not None else []
        err.print(", ".join(parts), markup=False, highlight=False)

    def _seconds_left(self, now: float, done: int, total: int | None) -> float | None:
        """By the mean pace since the first step: a run that goes on begins in between.

        None as long as it is unknown.
        """
        if self.first is None:
            self.first = (now, done)
        began, before = self.first
        if not total or done <= before:
            return None
        return (now - began) / (done - before) * (total - done)


def _rounded(seconds: float) -> str:
    """A time that nobody needs exactly.

    Example:
        >>> _rounded(42.3), _rounded(200), _rounded(7600)
        ('42 s', '3 min', '2 h 7 min')
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def show_steps(update: Callable[..., None]) -> Callable[..., None]:
    """Show a training step on the bar: loss, and the newest validation score."""

    def progress(step: int, steps: int, loss: float, score: float | None) -> None:
        valid = "" if score is None else f", validation {score:.2f} dB"
        update(step, steps, f"loss {loss:.3f}{valid}")

    return progress


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show a warning as one line, without its place in the code, and only once."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        report_failure("note", str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("once", MssEduWarning)  # not again for each song
        warnings.showwarning = show
        yield


def load_shown(source: str | Path, weights: Path | None, device: str) -> Any:
    """Load a model onto its device; what is fetched and its license are shown.

    Args:
        source, weights: as in `mssedu.load_model`.
        device: as in `pick_device`.
    """
    from mssedu.training.preflight import pick_device
    from mssedu.weights.loading import load_model

    with ExitStack() as stack:
        shown: list[
            Callable[..., None]
        ] = []  # the bar, once there is something to show

        def progress(done: int, total: int | None) -> None:
            if not shown:
                shown.append(stack.enter_context(bar("fetching, MB")))
            shown[0](done // 10**6, total and total // 10**6)

        model = load_model(source, weights=weights, log=out.print, progress=progress)
    return model.to(pick_device(device))
