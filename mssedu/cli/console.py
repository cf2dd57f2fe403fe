"""What the command line prints: plain lines, failures, and progress with time left."""

import errno
import io
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import progress as bars
from rich.console import Console
from rich.markup import escape

from mssedu.data.options import DataOptions
from mssedu.errors import MssEduError, MssEduWarning

if TYPE_CHECKING:
    from mssedu.data.track import Track

FIRST_LINE, NEXT_LINE = 10.0, 30.0  # seconds between lines of progress in a log file
_CODES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
OF_PATHS = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
OF_PATHS |= {errno.EACCES, errno.EPERM, errno.EROFS}
READER_GONE = 141  # exit code, as that of programs that SIGPIPE ends


class Output(Console):
    """A console that raises the error of a pipe that nothing reads any more."""

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError again; rich would end the program."""
        raise


# A path or command stays in one piece, and ":a:" in a name is no emoji.
out = Output(soft_wrap=True, emoji=False)
err = Output(stderr=True, soft_wrap=True, emoji=False)


def is_silent() -> bool:
    """Whether another process prints: torchrun starts several, and the first does."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0"


def say(line: Any) -> None:
    """Print a line or table as it is: no markup, no colors for paths."""
    if is_silent():
        return
    shown = visible(line) if isinstance(line, str) else line
    out.print(shown, markup=False, highlight=False)


def visible(text: str) -> str:
    """A text without codes that a terminal obeys: a file name may have any of them."""
    return _CODES.sub(lambda code: ascii(code[0])[1:-1], text)


def report_failure(kind: str, text: str) -> None:
    """Print a line on stderr: the kind of failure, and the message as it is."""
    err.print(f"[red]{kind:<8}[/]", escape(visible(text)), highlight=False)


def reason(error: Exception) -> str:
    """The text of an error; that of the system gets its path first, and a remedy."""
    if isinstance(error, MssEduError) or not isinstance(error, OSError):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    text = str(error.strerror or error).rstrip(".")
    remedy = " Choose another file or folder." if error.errno in OF_PATHS else ""
    return f"{where}{text}.{remedy}"


def drop_output() -> int:
    """Discard the output that Python would write at its end; return the exit code."""
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
def bar(label: str, *, lines: bool = True) -> Iterator[Callable[..., None]]:
    """Show progress and the time left: a bar on a terminal, else a line at times.

    Args:
        label: what is done, as the first word.
        lines: False for work that has a log: without a terminal, nothing is shown.

    Yields:
        update(done, total, note): call it after each step; the total may be None.
    """
    has_terminal = err.is_interactive and err.file.isatty()  # some CI forces colors
    if is_silent() or not has_terminal:
        yield _lines(label) if lines and not is_silent() else lambda *_: None
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
    with bars.Progress(*columns, console=err) as display:
        task = display.add_task(escape(label), total=None, note="")

        def update(done: int, total: int | None, note: str = "") -> None:
            display.update(task, completed=done, total=total, note=escape(note))

        try:
            yield update
        except BaseException:
            display.live.transient = True  # the bar is erased, the error stays
            raise


def _lines(label: str) -> Callable[..., None]:
    """Progress without a terminal, such as in a log file: few lines, no bar."""
    next_line = time.monotonic() + FIRST_LINE
    first: tuple[float, int] | None = None  # time and count of the first step

    def update(done: int, total: int | None, note: str = "") -> None:
        nonlocal next_line, first
        now = time.monotonic()
        began, before = first = first or (now, done)
        if now < next_line:
            return
        next_line = now + NEXT_LINE
        parts = [f"{label}: {done}" + (f" of {total}" if total else "")]
        parts += [note] if note else []
        if total and done > before:
            # The mean pace since the first step, as a resumed run starts in between
            left = (now - began) / (done - before) * (total - done)
            parts.append(f"{_rounded(left)} left")
        err.print(", ".join(parts), markup=False, highlight=False)

    return update


def _rounded(seconds: float) -> str:
    """A time in words, such as 42 s, 3 min, or 2 h 7 min."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def show_steps(update: Callable[..., None]) -> Callable[..., None]:
    """A function that shows a training step on a bar: loss and validation score."""

    def progress(step: int, steps: int, loss: float, score: float | None) -> None:
        valid = "" if score is None else f", validation {score:.2f} dB"
        update(step, steps, f"loss {loss:.3f}{valid}")

    return progress


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each warning once, as one line, without its place in the code."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        report_failure("note", str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("once", MssEduWarning)  # not again for each song
        warnings.showwarning = show
        yield


def load_shown(
    source: str | Path, weights: Path | None, model_file: Path | None, device: str
) -> Any:
    """Load a model onto its device, and show its license and the download."""
    from mssedu.models.contract import pick_device
    from mssedu.weights.loading import load_model

    with _late_bar("fetching, MB") as update:

        def progress(done: int, total: int | None) -> None:
            update(done // 10**6, total and total // 10**6)

        model = load_model(
            source,
            weights=weights,
            model_file=model_file,
            log=out.print,
            progress=progress,
        )
    return model.to(pick_device(device))


def load_songs(
    data: Path,
    options: DataOptions,
    split: str | None = None,
    *,
    stems: Sequence[str] | None,
    log: Callable[[str], None] = say,
) -> list["Track"]:
    """Load a data set, and show its layout, the songs found, and the progress."""
    from mssedu.data.loading import load_dataset

    with _late_bar("reading headers") as update:
        return load_dataset(
            data, split, stems=stems, log=log, progress=update, **vars(options)
        )


@contextmanager
def _late_bar(label: str) -> Iterator[Callable[..., None]]:
    """As `bar`, but nothing is shown before the first step: there may be none."""
    with ExitStack() as stack:
        updates: list[Callable[..., None]] = []

        def update(done: int, total: int | None) -> None:
            if not updates:
                updates.append(stack.enter_context(bar(label)))
            updates[0](done, total)

        yield update
