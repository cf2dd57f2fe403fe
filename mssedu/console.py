"""What the command line prints: plain lines, failures, and bars with time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console
from rich.markup import escape

out = Console(soft_wrap=True)  # a path or command stays in one piece
err = Console(stderr=True, soft_wrap=True)


def report_failure(kind: str, text: str) -> None:
    """A line on stderr: what kind of failure, and the message as it is."""
    err.print(f"[red]{kind:<8}[/]", escape(text), highlight=False)


@contextmanager
def bar(label: str) -> Iterator[Callable[..., None]]:
    """A progress bar with time left: yields update(done, total, note)."""
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[note]}"),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=err) as bar:
        task = bar.add_task(escape(label), total=None, note="")

        def update(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=escape(note))

        yield update


def show_steps(update: Callable[..., None]) -> Callable[..., None]:
    """Show a training step on the bar: loss, and the newest validation score."""

    def progress(step: int, steps: int, loss: float, score: float | None) -> None:
        valid = "" if score is None else f", validation {score:.2f} dB"
        update(step, steps, f"loss {loss:.3f}{valid}")

    return progress
