"""How much computing time a run has taken, and whether its budget is spent.

    processor seconds   of all threads of this process: an hour on two cores is 7200
    wall seconds        of the clock on the wall

On a CPU a budget is in processor seconds, because wall time depends on what else the
machine does. On another device it is in wall seconds: the card works for the run alone.

A `Stopwatch` goes on where the run was saved. It measures, so that two runs with a
budget never have exactly the same learning rates; all else of a resumed run is exact.
"""

import os
import time
from collections.abc import Callable, Mapping

from mssedu.errors import InputError
from mssedu.training.config import TrainConfig

PROCESSOR, WALL = "processor_seconds", "wall_seconds"


class Stopwatch:
    """Seconds that a run has taken, over all its starts.

    Args:
        kind: of the device, such as "cpu"; it decides what counts for a budget.
        before: `facts` of an earlier start of the run.
        energy: the counter of the card, in joules; None where there is none.

    Example:
        >>> watch = Stopwatch("cpu", {"processor_seconds": 60.0, "wall_seconds": 40.0})
        >>> watch.share(120.0) >= 0.5, watch.is_spent(60.0), watch.is_spent(None)
        (True, True, False)
    """

    def __init__(
        self,
        kind: str,
        before: Mapping[str, float] | None = None,
        energy: Callable[[], float | None] = lambda: None,
    ) -> None:
        before = before or {}
        self._counters: dict[str, Callable[[], float | None]] = {
            "processor_seconds": processor_seconds,
            "wall_seconds": time.perf_counter,
            "energy_joules": energy,
        }
        self._counts = PROCESSOR if kind == "cpu" else WALL
        self._began = {
            name: (counter() or 0.0) - before.get(name, 0.0)
            for name, counter in self._counters.items()
        }
        # The run must leave so many seconds of its budget for its last validation.
        self.reserve = before.get("reserve_seconds", 0.0)

    @property
    def facts(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        now = {name: counter() for name, counter in self._counters.items()}
        taken = {
            name: round(value - self._began[name], 3)
            for name, value in now.items()
            if value is not None
        }
        return taken | {"reserve_seconds": round(self.reserve, 3)}

    @property
    def spent(self) -> float:
        """Seconds that count for a budget."""
        return (self._counters[self._counts]() or 0.0) - self._began[self._counts]

    def share(self, budget: float) -> float:
        """The spent share of a budget in seconds, 0 … 1."""
        return min(self.spent / budget, 1.0)

    def is_spent(self, budget: float | None) -> bool:
        """Whether only the reserve is left of a budget in seconds; None: no limit."""
        return budget is not None and self.spent + self.reserve >= budget

    def keep(self, seconds: float) -> None:
        """Note what a validation took: the last one needs as much."""
        self.reserve = max(self.reserve, seconds)


def processor_seconds() -> float:
    """Time on the processor of all threads of this process and its ended children."""
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system


def check_budget(config: TrainConfig, kind: str, n_processes: int = 1) -> None:
    """Raise InputError if other processes would take time that nobody counts.

    Args:
        config: of the run.
        kind: of the device, such as "cpu".
        n_processes: that train together.
    """
    if config.budget_seconds is not None and n_processes > 1:
        raise InputError(
            "budget_seconds counts the time of one process, and "
            f"{n_processes} train together. Leave it out, or train with one process."
        )
    if config.budget_seconds is not None and kind == "cpu" and config.n_workers:
        raise InputError(
            "budget_seconds counts the processor seconds of one process on a CPU, and "
            f"n_workers is {config.n_workers}. Set n_workers to 0, and read the songs "
            "from memory (--in-memory) or from a copy (--cache)."
        )
