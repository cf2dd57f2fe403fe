"""How fast a run is: one line every so many seconds, with or without a terminal.

step 1200 of 20000: loss 0.0412, 0.213 s/step, 18.8 examples/s, 2% of the time waiting
for data, peak memory 5.2 GB, 1 h 7 min left
"""

import math
import time

import torch

from mssedu.separation.record import peak_memory_mb
from mssedu.training.config import TrainConfig


class Pace:
    """Sums since the last line.

    Args:
        config: of the run, which says how often a line is due.
        device: the one whose memory is named.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.began = self.last = time.monotonic()
        self.n_all = 0  # steps since the beginning
        self._clear()

    def _clear(self) -> None:
        self.n, self.n_losses = 0, 0  # steps, and those that were not skipped
        self.loss_sum = self.waiting = self.computing = 0.0

    def step(self, loss: float, waiting: float, computing: float) -> None:
        """Note a step: its loss (NaN if it was skipped), seconds for data and other."""
        self.n_all, self.n = self.n_all + 1, self.n + 1
        self.waiting += waiting
        self.computing += computing
        if math.isfinite(loss):
            self.loss_sum += loss
            self.n_losses += 1

    def line(self, step: int, steps: int) -> str | None:
        """The line, if it is due; the run has done `step` of its `steps`."""
        now, every = time.monotonic(), self.config.log_seconds
        if not every or not self.n or now - self.last < every:
            return None
        busy = max(self.waiting + self.computing, 1e-9)
        loss = f"{self.loss_sum / self.n_losses:.4g}" if self.n_losses else "none"
        # Validations and saves count, as they come again.
        left = (now - self.began) / self.n_all * (steps - step)
        peak = peak_memory_mb(self.device)
        memory = "" if peak is None else f", peak memory {peak / 1e3:.1f} GB"
        text = (
            f"step {step} of {steps}: loss {loss}, {busy / self.n:.3g} s/step, "
            f"{self.n * self.config.batch_size / busy:.3g} examples/s, "
            f"{self.waiting / busy:.0%} of the time waiting for data{memory}, "
            f"{in_words(left)} left"
        )
        self.last = now
        self._clear()
        return text


def in_words(seconds: float) -> str:
    """A time in words.

    Example:
        >>> in_words(0.5), in_words(42), in_words(300), in_words(7620)
        ('0.50 s', '42 s', '5 min', '2 h 7 min')
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
