"""What a model costs: parameters, operations, memory, time and receptive field.

These conventions make two tables comparable:

* One MAC, a multiplication and an addition, counts as 2 FLOPs. The matrix products are
  counted: convolutions, linear layers, LSTMs, attention. As usual, the FFT of an STFT,
  norms, activations and sums are not; they are a few percent in these models.
* All costs are per second of audio, for one segment in inference without overlap. An
  overlap of 0.25 makes a song cost a third more. Attention costs more per second in a
  longer segment, so the segment is a part of the result.
* Memory is that of all tensors that exist at the same time, including the weights but
  not Python itself. On a GPU it includes the workspace of kernels.

PyTorch's FlopCounterMode counts fused LSTMs and attention on CPUs as 0, without a
warning, so this file adds their formulas.
"""

import statistics
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from mssedu.errors import check_range
from mssedu.inspect.receptive import ReceptiveField, receptive_field
from mssedu.models.contract import config_of, eval_mode

TIMED_SECONDS = 1.0  # short runs are repeated until they take this long together


@dataclass(frozen=True)
class Complexity:
    """The measured costs of a model."""

    n_parameters: int  # all parameters, as papers count
    n_trainable: int  # parameters that training changes
    n_stored: int  # numbers in a checkpoint, including running means and other buffers
    sample_rate: int  # Hz
    segment: float  # seconds of the input
    flops: float  # per second of audio
    memory_bytes: int  # peak for one segment
    realtime_factor: float  # computing time per second of audio; < 1 is real time
    field: ReceptiveField
    device: str
    n_threads: int  # of the CPU

    @property
    def macs(self) -> float:
        """Multiply-accumulates per second of audio: half the FLOPs."""
        return self.flops / 2

    @property
    def receptive_field_seconds(self) -> float | None:
        """Seconds of mixture that one output sample depends on; None: all of them."""
        samples = self.field.samples
        return None if samples is None else samples / self.sample_rate

    @property
    def latency_seconds(self) -> float:
        """Seconds of input after a sample that its output needs, at most a segment.

        An infinitely fast computer would have this latency.
        """
        future = self.field.future
        return self.segment if future is None else future / self.sample_rate

    @property
    def is_causal(self) -> bool:
        """Whether no output sample depends on a later input sample."""
        return self.field.future == 0


def measure(model: nn.Module, segment: float | None = None) -> Complexity:
    """Measure a model on its device: two forwards, and more for its receptive field.

    Args:
        model: follows the contract; it is not changed, and keeps its mode.
        segment: seconds of the input; None for the config's segment.

    Raises:
        InputError: segment is not above 0, or the model replaces NaN.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> costs = measure(create_model("spleeter", "tiny"), segment=1.0)
        >>> costs.n_parameters, costs.is_causal
        (607060, False)
    """
    config = config_of(model)
    segment = config.segment if segment is None else segment
    check_range("segment", segment, 0, low_open=True)
    samples = max(1, round(segment * config.sample_rate))
    segment = samples / config.sample_rate
    parameters = [*model.parameters()]
    weights = [*parameters, *model.buffers()]
    like = weights[0] if weights else torch.empty(0)
    device = like.device
    mixture = 0.1 * torch.randn(1, config.channels, samples, device=device)
    mixture = mixture.to(like.dtype)
    with peak_memory(device) as peak:
        flops = count_flops(model, mixture)
    seconds = time_forward(model, mixture)
    return Complexity(
        n_parameters=sum(p.numel() for p in parameters),
        n_trainable=sum(p.numel() for p in parameters if p.requires_grad),
        n_stored=sum(value.numel() for value in model.state_dict().values()),
        sample_rate=config.sample_rate,
        segment=segment,
        flops=flops / segment,
        memory_bytes=sum(weight.nbytes for weight in weights) + peak(),
        realtime_factor=seconds / segment,
        field=receptive_field(model, samples),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        n_threads=torch.get_num_threads(),
    )


# ---- operations ---------------------------------------------------------------------


def count_flops(model: nn.Module, mixture: Tensor) -> int:
    """FLOPs of one forward of any module in eval mode, by the conventions above.

    Example:
        >>> count_flops(torch.nn.Linear(3, 5), torch.zeros(7, 3))  # 2 · 7 · 3 · 5
        210
    """
    counter = FlopCounterMode(display=False, custom_mapping=_MORE_FORMULAS)
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its parts cannot be counted
    try:
        with eval_mode(model), torch.no_grad(), counter:
            model(mixture)
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)
    return counter.get_total_flops()


# Arguments of these formulas are shapes.


def _lstm_on_cuda(steps: Any, weights: Iterable[Any], *_: Any, **__: Any) -> int:
    """Each weight matrix, (4 · hidden, …), is applied to one vector per time step."""
    n_steps = prod(steps[:-1])  # (batch, frames, features) or (frames, batch, features)
    return 2 * n_steps * sum(prod(shape) for shape in weights if len(shape) == 2)


def _lstm_on_cpu(steps: Any, inputs: Any, states: Any, *_: Any, **__: Any) -> int:
    return _lstm_on_cuda(steps, [inputs, states])  # of one layer and direction


def _attention_on_cpu(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


# Operators for which FlopCounterMode has no formula (PyTorch 2.11)
_MORE_FORMULAS = {
    torch.ops.aten.mkldnn_rnn_layer: _lstm_on_cpu,
    torch.ops.aten._cudnn_rnn: _lstm_on_cuda,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_on_cpu,
}


# ---- time and memory ----------------------------------------------------------------


@torch.no_grad()
def time_forward(model: nn.Module, mixture: Tensor) -> float:
    """Seconds of one forward in eval mode; a short one is repeated, for the median.

    Run the model once before, so that caches are warm.
    """
    times: list[float] = []
    total = 0.0
    with eval_mode(model):
        while not times or total < TIMED_SECONDS:
            _wait(mixture.device)
            start = time.perf_counter()
            model(mixture)
            _wait(mixture.device)
            times.append(time.perf_counter() - start)
            total += times[-1]
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], int]]:
    """Watch which tensors exist; yields a function that returns the peak in bytes.

    Tensors that exist before, such as weights, are not counted.

    Example:
        >>> with peak_memory(torch.device("cpu")) as peak:
        ...     total = torch.zeros(250).sum()  # 1000 bytes, and 4 for the sum
        >>> peak()
        1004
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield lambda: torch.cuda.max_memory_allocated(device) - before
    else:
        with _Alive() as alive:
            yield lambda: alive.peak


# PyTorch has max_memory_allocated for GPUs only.
class _Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that operations create, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        inputs = {storage._cdata for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            key = storage._cdata
            if key not in inputs | self.known:  # neither a view nor an in-place result
                self.known.add(key)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, key, storage.nbytes())
        return result

    def _free(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def _storages(tree: Any) -> list[Any]:
    leaves = tree_leaves(tree)
    return [leaf.untyped_storage() for leaf in leaves if isinstance(leaf, Tensor)]
