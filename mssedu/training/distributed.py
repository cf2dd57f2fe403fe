"""Several processes train one model: each takes its part of every batch.

    torchrun --nproc-per-node 2 -m mssedu train SONGS         two cards of one machine

    items of a step ─┬─ process 0: items 0, 2, … ─▶ gradient ─┐
                     └─ process 1: items 1, 3, … ─▶ gradient ─┴─ mean ─▶ one update

All processes hold the same weights, as they begin with the same ones and apply the
same update. The batch size is that of all processes together, so their number changes
no result, but for rounding and dropout; batch norm takes its statistics of the whole
batch. The gradient is the mean over the parts of a batch, as with `accumulate`: where
stems are absent from songs, the parts may compare different numbers of stems.

Whatever decides about the run (a skipped step, a signal, a score) is agreed
upon, or follows from numbers that all processes have. Process 0 alone writes and logs.
All processes read the run folder, so several machines need a shared one.

torchrun tells a process its number in the environment. Without it, there is one
process, and each function here returns its argument.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist

# Its functions keep the group of all processes as a default value. Imported now, as
# there is none yet, they keep nothing: then the threads of the group end with it.
import torch.distributed.nn.functional
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mssedu.errors import InputError, MssEduError, SetupError
from mssedu.training.config import TrainConfig

# What torchrun sets; with all of them, PyTorch finds the other processes.
ENVIRONMENT = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

Item = TypeVar("Item")


# ---- the processes ------------------------------------------------------------------


@contextmanager
def joined(config: TrainConfig) -> Iterator[None]:
    """Join the processes of torchrun while open; with one process, do nothing.

    Processes that train on CUDA take the card of their number on the machine.

    Args:
        config: of the run; its device is auto, cpu or cuda.

    Raises:
        InputError: another device, a batch that cannot be shared, or a budget.
        SetupError: fewer cards on this machine than processes.
    """
    known = all(name in os.environ for name in ENVIRONMENT)
    if not known or os.environ["WORLD_SIZE"] == "1" or dist.is_initialized():
        yield
        return
    n, device = os.environ["WORLD_SIZE"], config.device
    if config.budget_seconds is not None:
        raise InputError(
            f"budget_seconds is for one process, and there are {n}: their clocks "
            "differ. Set steps instead."
        )
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(
            f"device must be auto, cpu or cuda with {n} processes, got {device!r}. "
            "Each process takes its own card: use --device cuda."
        )
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        _take_card(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")
    check_parts(config)
    yield
    dist.destroy_process_group()  # not after an error: the others may wait for this one


def _take_card(number: int) -> None:
    n_cards = torch.cuda.device_count()
    if number >= n_cards:
        raise SetupError(
            f"process {number} of this machine has no CUDA device: PyTorch sees "
            f"{n_cards}. Start torchrun with --nproc-per-node {max(n_cards, 1)}, or "
            "use --device cpu."
        )
    torch.cuda.set_device(number)


def process_number() -> int:
    """Number of this process, from 0; the first one writes and logs."""
    return dist.get_rank() if dist.is_initialized() else 0


def n_processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def suffix() -> str:
    """What tells files of this process from those of others; empty for one process."""
    return f"-process-{process_number()}" if n_processes() > 1 else ""


def is_first() -> bool:
    """Whether this process writes files and logs."""
    return process_number() == 0


def wait_for_all() -> None:
    """Return when all processes are here."""
    largest(0.0)


# ---- parts of a batch ----------------------------------------------------------------


def part_of(batch_size: int) -> int:
    """How many items of a batch one process takes.

    Raises:
        InputError: the batch cannot be shared evenly.

    Example:
        >>> part_of(4)  # by one process
        4
    """
    n = n_processes()
    if batch_size % n:
        raise InputError(
            f"batch_size must be a multiple of the number of processes, got "
            f"{batch_size} for {n} processes. Use --batch-size "
            f"{-(-batch_size // n) * n}."
        )
    return batch_size // n


def check_parts(config: TrainConfig) -> None:
    """Raise InputError unless all parts of a batch have the same number of items.

    Each process computes its part of the batch in `accumulate` parts.
    """
    part = part_of(config.batch_size)
    if part % config.accumulate:
        raise InputError(
            f"each of {n_processes()} processes takes {part} segments of a batch, and "
            f"accumulate must divide them, got {config.accumulate}. Choose another "
            "--accumulate, or a larger --batch-size."
        )


def own(items: Sequence[Item]) -> Sequence[Item]:
    """Every n-th item, from the number of this process on.

    Of a range it is a range: so each process reads its part of each batch, if the batch
    is a multiple of the number of processes.
    """
    return items[process_number() :: n_processes()]


def seed_step(seed: int, step: int) -> None:
    """Give the processes after the first one random numbers of their own.

    They follow from the seed, the process and the step, so a run that goes on needs no
    state of them. The first process draws the same numbers as a process alone.
    """
    if not is_first():
        sequence = np.random.SeedSequence((seed, process_number(), step))
        torch.manual_seed(int(sequence.generate_state(1)[0]))


# ---- agreement -----------------------------------------------------------------------


def largest(value: float) -> float:
    """The largest value that a process has, the same in all of them."""
    if n_processes() == 1:
        return value
    values = torch.tensor([value], dtype=torch.float64)
    dist.all_reduce(values, dist.ReduceOp.MAX)
    return float(values)


def of_first(value: Item) -> Item:
    """The value that the first process has; it must be one that pickle takes."""
    if n_processes() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def of_all(value: Item) -> list[Item]:
    """The values of all processes, in order; they must be some that pickle takes."""
    if n_processes() == 1:
        return [value]
    values: list[Item] = [value] * n_processes()
    dist.all_gather_object(values, value)
    return values


def raise_together(error: MssEduError | None) -> None:
    """Raise the error of any process in all of them; nothing happens without one."""
    found = next((one for one in of_all(error) if one is not None), None)
    if found is not None:
        raise found


def gathered(rows: Tensor, n_rows: int) -> Tensor:
    """The rows of all processes, each of which has those of its `own(range(n_rows))`.

    Args:
        rows: float (own rows, columns), on the CPU; the values may be NaN.
        n_rows: of all processes.

    Returns:
        (n_rows, columns), the same in all processes.
    """
    if n_processes() == 1:
        return rows
    table = rows.new_zeros(n_rows, rows.shape[1])
    table[process_number() :: n_processes()] = rows
    dist.all_reduce(table)
    return table


# ---- weights and gradients -----------------------------------------------------------


def share_weights(model: nn.Module) -> None:
    """Give all processes the weights and buffers of the first one."""
    if n_processes() > 1:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)


def average(model: nn.Module, *values: Tensor) -> list[Tensor]:
    """Replace each gradient by its mean over the processes, in one message.

    NaN or Inf of one process reaches all of them, so that all skip the step.

    Args:
        model: with the gradients of this process's part of the batch.
        values: scalars such as the loss.

    Returns:
        the means of the values over the processes, float32.
    """
    if n_processes() == 1:
        return list(values)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    scalars = [value.detach().float().reshape(1) for value in values]
    flat = torch.cat([*scalars, *(gradient.flatten() for gradient in gradients)])
    dist.all_reduce(flat)
    flat /= n_processes()
    first = len(values)
    for gradient in gradients:
        part = flat[first : first + gradient.numel()]
        gradient.copy_(part.view_as(gradient))
        first += gradient.numel()
    return list(flat[: len(values)].clone())


def join_batch_norm(model: nn.Module) -> None:
    """Let batch norm take its statistics of the whole batch, on any device.

    Else the result would depend on the number of processes. nn.SyncBatchNorm does the
    same, on CUDA only.
    """
    for module in model.modules():
        if n_processes() > 1 and isinstance(module, _BatchNorm):
            module.__class__ = _JoinedBatchNorm


class _Sum(torch.autograd.Function):
    """The sum over all processes, in both directions."""

    @staticmethod
    def forward(context: object, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        return _Sum.forward(context, gradient)


class _JoinedBatchNorm(_BatchNorm):
    """Batch norm over all processes; outside of training, it is the usual one."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of axes: the class before has had this check."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize each channel, the second axis of (batch, channels, …)."""
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        each = [1, -1] + [1] * (input.ndim - 2)  # the shape of a value per channel
        x = input.float()
        n = x.numel() // x.shape[1] * n_processes()
        mean = cast(Tensor, _Sum.apply(x.sum(axes))) / n
        centered = x - mean.view(each)
        variance = cast(Tensor, _Sum.apply(centered.square().sum(axes))) / n
        self._follow(mean.detach(), variance.detach() * n / max(n - 1, 1))
        result = centered * (variance + self.eps).rsqrt().view(each)
        if self.affine:
            result = result * self.weight.view(each) + self.bias.view(each)
        return result.to(input.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of this batch."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:  # the plain mean of all batches
            share = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)
