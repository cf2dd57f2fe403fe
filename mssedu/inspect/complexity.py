"""What a model costs: parameters, operations, memory, time, and how far it hears.

Conventions, so that two tables can be compared:

* One MAC, a multiplication and an addition, counts as 2 FLOPs. Counted are matrix
  products: convolutions, linear layers, LSTMs, attention. Left out, as is the custom,
  are the FFT of an STFT, norms, activations and sums, a few percent in these models.
* Everything is per second of audio, at one segment in inference, without overlap: with
  an overlap of 0.25 a song costs a third more. Attention costs more per second in a
  longer segment, so the segment is a part of the result.
* Memory is that of all tensors alive at once, the weights among them. On a GPU it holds
  the workspace of kernels too; on a CPU that comes on top, as does Python itself.

PyTorch's own counter knows neither the fused LSTMs nor attention on CPUs (it is silent
about what it does not know); other counters leave out more, see notebook 11.
"""

import statistics
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
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
    """The measured costs of a model; see the head of this file for conventions."""

    n_parameters: int  # all of them, as papers count
    n_trainable: int  # those that training changes
    n_stored: int  # numbers in a checkpoint: with running means and other buffers
    sample_rate: int  # Hz
    segment: float  # seconds given to the model at once
    flops: float  # per second of audio
    memory_bytes: int  # peak, of one segment
    realtime_factor: float  # seconds computed per second of audio; < 1 keeps up
    field: ReceptiveField
    device: str
    n_threads: int  # of the CPU

    @property
    def macs(self) -> float:
        """Multiply-accumulates per second of audio: half the FLOPs."""
        return self.flops / 2

    @property
    def receptive_field_seconds(self) -> float | None:
        """Seconds of mixture behind one output sample; None: the whole segment."""
        samples = self.field.samples
        return None if samples is None else samples / self.sample_rate

    @property
    def latency_seconds(self) -> float:
        """Seconds that must follow a sample before its output is known, at least.

        That is the algorithm's share, on an infinitely fast computer; a model that
        hears up to the end of what it is given has to wait for a whole segment.
        """
        future = self.field.future
        return self.segment if future is None else future / self.sample_rate

    @property
    def is_causal(self) -> bool:
        """Whether no output sample depends on a later input sample."""
        return self.field.future == 0


def measure(model: nn.Module, segment: float | None = None) -> Complexity:
    """Measure a model where it is: two forwards, and one or some more for its field.

    Args:
        model: follows the contract; left as it was, in whatever mode.
        segment: seconds to give it at once; the config's if None.

    Raises:
        InputError: a segment that is not above 0, or a model that hides NaN.

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
    weights = [*model.parameters(), *model.buffers()]
    device = weights[0].device if weights else torch.device("cpu")
    mixture = 0.1 * torch.randn(1, config.channels, samples, device=device)
    mixture = mixture.to(weights[0].dtype) if weights else mixture
    with peak_memory(device) as peak:
        flops = count_flops(model, mixture)
    seconds = time_forward(model, mixture)
    parameters = [*model.parameters()]
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
    """FLOPs of one forward in eval mode, as the head of this file defines them.

    Args:
        model: any module.
        mixture: its input.

    Example:
        >>> count_flops(torch.nn.Linear(3, 5), torch.zeros(7, 3))  # 2 · 7 · 3 · 5
        210
    """
    counter = FlopCounterMode(display=False, custom_mapping=_UNKNOWN_TO_TORCH)
    with _unfused_attention(), eval_mode(model), torch.no_grad(), counter:
        model(mixture)
    return counter.get_total_flops()


@contextmanager
def _unfused_attention() -> Iterator[None]:
    """Without the fused nn.MultiheadAttention, whose parts nobody could count."""
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)


def _lstm_flops(steps: Sequence[int], weights: Sequence[Sequence[int]]) -> int:
    """Each weight matrix, (4 · hidden, …), meets one vector per time step."""
    n_steps = prod(steps[:-1])  # (batch, frames, features) or (frames, batch, features)
    return 2 * n_steps * sum(prod(shape) for shape in weights if len(shape) == 2)


def _lstm_on_cpu(steps: Any, *weights: Any, **rest: Any) -> int:
    return _lstm_flops(steps, weights[:2])  # of a layer and direction; no biases


def _lstm_on_cuda(steps: Any, weights: Any, *rest: Any, **more: Any) -> int:
    return _lstm_flops(steps, weights)


def _attention_on_cpu(query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> int:
    return sdpa_flop_count(query, key, value)


_UNKNOWN_TO_TORCH = {
    torch.ops.aten.mkldnn_rnn_layer: _lstm_on_cpu,
    torch.ops.aten._cudnn_rnn: _lstm_on_cuda,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_on_cpu,
}


# ---- time and memory ----------------------------------------------------------------


@torch.no_grad()
def time_forward(model: nn.Module, mixture: Tensor) -> float:
    """Seconds of one forward in eval mode: the median, if it is short enough to repeat.

    Args:
        model: any module that has run once before, so that caches are warm.
        mixture: its input.
    """
    times: list[float] = []
    with eval_mode(model):
        while not times or sum(times) < TIMED_SECONDS:
            _wait(mixture.device)
            start = time.perf_counter()
            model(mixture)
            _wait(mixture.device)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    """Until the GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], int]]:
    """While open, watches tensors come and go; yields what tells the most bytes so far.

    Tensors that are there already, such as weights, are not counted.

    Args:
        device: where the tensors are.

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


class _Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that operations create, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = {storage._cdata for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            key = storage._cdata
            if key not in given | self.known:  # no view, nothing written in place
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
