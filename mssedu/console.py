"""What the command line prints: plain lines, failures, and bars with time left."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich import progress as bars
from rich.console import Console
from rich.markup import escape

from mssedu.checks import MssEduWarning

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
    from mssedu.pretrained import load_model
    from mssedu.training.preflight import pick_device

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
