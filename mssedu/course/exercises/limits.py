"""Limits of a check: its time, and the functions that an answer must not call."""

import ctypes
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.overrides import TorchFunctionMode

from mssedu.course.exercises.expect import Wrong

LONGEST_CHECK = 30.0  # seconds; the slowest check of a right answer takes about one
AGAIN = 1.0  # seconds until an answer that catches every exception is stopped again


class TooLong(BaseException):
    """A block ran longer than its limit; `except Exception` does not catch it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Stop the Python code of a block with TooLong when the time is over.

    It works in any thread and on any system. A single call of compiled code, such as
    one large product of matrices, ends before the block is stopped.

    Raises:
        TooLong: the block did not end in time.

    Example:
        >>> with time_limit(5.0):
        ...     total = sum(range(1000))
    """
    running = threading.get_ident()
    ended, lock = threading.Event(), threading.Lock()

    def stop() -> None:
        left = seconds
        while not ended.wait(left):
            with lock:
                if not ended.is_set():
                    thread, error = ctypes.c_ulong(running), ctypes.py_object(TooLong)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)
            left = AGAIN

    threading.Thread(target=stop, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            ended.set()


class forbidden(TorchFunctionMode):  # noqa: N801 - reads as a `with` block
    """While open, a call of one of these functions of PyTorch is a wrong answer.

    Args:
        names: of the functions, such as "scaled_dot_product_attention".
        otherwise: what the student reads.

    Example:
        >>> with forbidden(["softmax"], "write the softmax yourself."):
        ...     total = torch.ones(3).sum()
    """

    def __init__(self, names: Iterable[str], otherwise: str) -> None:
        super().__init__()
        self.names, self.otherwise = frozenset(names), otherwise

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Refuse the function, or call it as PyTorch would."""
        if getattr(func, "__name__", "") in self.names:
            raise Wrong(self.otherwise)
        return func(*args, **(kwargs or {}))
