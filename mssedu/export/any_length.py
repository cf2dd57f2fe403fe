"""Parts of the models for one graph that fits every length.

`torch.export` has three difficulties with lengths, and `for_any_length` removes them
while it is open:

- It writes an LSTM out frame by frame, for as many frames as the traced mixture has.
  Here an LSTM is one operation, mssedu::lstm, which becomes the LSTM of ONNX.
- A graph has no branches: of an `if` on the number of samples, it keeps the way that
  the traced mixture takes. The BiLSTM of a DConv cuts only what is longer than a span.
  Here it goes both ways, with the spans found by indices, and then chooses a result.
  That takes half as many steps of the LSTM again.
- It simplifies the expression of each length. That of Demucs, rounded up and limited
  once a level, takes minutes. Here it is rounded up and limited once.

    frames   0 ………… 99 100 ……… 199 200 ……… 249        stride 100, spans of 200 frames
    span 0   ├──────────────────────┤
    span 1              ├─────────────────────┤
    span 2                         ├──────────────────────┤
    from       span 0   150│ span 1     250│ span 2

Another architecture with a length in an `if` needs the same as the BiLSTM.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssedu.models import demucs
from mssedu.models.blocks.dconv import BiLSTM

_with_branch = BiLSTM.forward


@contextmanager
def for_any_length() -> Iterator[None]:
    """While open, the models can be traced for any number of samples."""
    with (
        patch.object(nn.LSTM, "forward", _one_operation),
        patch.object(BiLSTM, "forward", _without_branch),
        patch.object(demucs, "valid_length", _valid_length),
    ):
        yield


# ---- an LSTM as one operation -------------------------------------------------------


def _one_operation(self: nn.LSTM, x: Tensor) -> tuple[Tensor, None]:
    """As `nn.LSTM.forward` from a state of zeros; the last state is left out."""
    weights = [*chain(*self.all_weights)]
    y = torch.ops.mssedu.lstm(
        x, weights, self.num_layers, self.bidirectional, self.batch_first
    )
    return y, None


@torch.library.custom_op("mssedu::lstm", mutates_args=())
def lstm(
    x: Tensor,
    weights: Sequence[Tensor],
    n_layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> Tensor:
    """The output of an LSTM for all frames, from a state of zeros.

    Args:
        x: (frames, batch, features), or (batch, frames, features) with batch_first.
        weights: of each layer and direction four, as in `nn.LSTM.all_weights`.

    Returns:
        (frames, batch, directions · hidden), or with the batch first.
    """
    n_states = n_layers * (2 if bidirectional else 1)
    batch, hidden = x.shape[0 if batch_first else 1], weights[1].shape[1]
    state = x.new_zeros(n_states, batch, hidden)
    y, *_ = torch.lstm(
        x,
        (state, state),
        [*weights],
        has_biases=True,
        num_layers=n_layers,
        dropout=0.0,
        train=False,
        bidirectional=bidirectional,
        batch_first=batch_first,
    )
    return y


@lstm.register_fake
def _shape_of_lstm(
    x: Tensor,
    weights: Sequence[Tensor],
    n_layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> Tensor:
    """An empty tensor of the shape that `lstm` returns."""
    directions = 2 if bidirectional else 1
    return x.new_empty(*x.shape[:2], directions * weights[1].shape[1])


def onnx_lstm(
    x: Any,
    weights: Sequence[Any],
    n_layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    """The same in operations of ONNX, for `torch.onnx.export`."""
    from onnxscript import opset20

    op: Any = opset20

    def gates(rows: Any) -> Any:
        """ONNX has the gates in the order input, output, forget, cell."""
        i, f, g, o = op.Split(rows, axis=0, num_outputs=4)
        return op.Concat(i, o, f, g, axis=0)

    def stacked(parts: Sequence[Any]) -> Any:
        """The parts of all directions, on a new first axis."""
        rows = [op.Unsqueeze(part, [0]) for part in parts]
        return op.Concat(*rows, axis=0)

    n = 2 if bidirectional else 1
    hidden = weights[1].shape[1]
    x = op.Transpose(x, perm=[1, 0, 2]) if batch_first else x
    for layer in range(n_layers):
        own = [
            weights[4 * k : 4 * k + 4] for k in range(n * layer, n * layer + n)
        ]  # input, state, and the two offsets, of each direction
        y, *_ = op.LSTM(
            x,
            stacked([gates(w) for w, *_ in own]),
            stacked([gates(r) for _, r, *_ in own]),
            stacked([op.Concat(gates(b), gates(c), axis=0) for *_, b, c in own]),
            direction="bidirectional" if bidirectional else "forward",
            hidden_size=hidden,
        )
        # (frames, directions, batch, hidden); 0 keeps the size of an axis
        x = op.Reshape(op.Transpose(y, perm=[0, 2, 1, 3]), [0, 0, -1])
    return op.Transpose(x, perm=[1, 0, 2]) if batch_first else x


# ---- a BiLSTM without a branch ------------------------------------------------------


def _without_branch(self: BiLSTM, x: Tensor) -> Tensor:
    """As `BiLSTM.forward`: (batch, width, frames) -> the same shape."""
    if self.max_frames is None:
        return _with_branch(self, x)
    batch, _, frames = x.shape
    stride, length = self.max_frames // 2, self.max_frames
    whole = self.linear(self.lstm(x.permute(2, 0, 1))[0]).permute(1, 2, 0)

    n_spans = -(-frames // stride)
    starts = torch.arange(n_spans, device=x.device) * stride
    places = starts[:, None] + torch.arange(length, device=x.device)
    spans = F.pad(x, (0, length))[..., places]  # (batch, width, spans, length)
    spans = spans.permute(3, 0, 2, 1).reshape(length, batch * n_spans, -1)
    y = self.linear(self.lstm(spans)[0]).reshape(length, batch, n_spans, -1)
    y = y.permute(1, 3, 2, 0).flatten(2)  # the spans one after another

    frame = torch.arange(frames, device=x.device)
    span = (frame - length // 4).clamp(min=0) // stride
    joined = y.index_select(2, span * length + frame - span * stride)
    # A condition on a tensor, because the tracer would decide one on a length
    y = torch.where(frame[-1:] >= length, joined, whole)
    return x + y if self.skip else y


# ---- the length of Demucs -----------------------------------------------------------


def _valid_length(config: demucs.DemucsConfig, samples: int) -> int:
    """As `mssedu.models.demucs.valid_length`, with one division.

    A ceiling of a ceiling is one of the product: ⌈(⌈x/m⌉ + c) / n⌉ = ⌈(x + cm) / mn⌉.
    So the last level has ⌈(x + a) / strideᵈᵉᵖᵗʰ⌉ frames, or as many as one sample gives
    if these are more. The decoder makes strideᵈᵉᵖᵗʰ samples of each, plus some.
    """
    stride, kernel, rate = config.stride, config.kernel_size, 1 + config.resample
    scale, levels = stride**config.depth, sum(stride**i for i in range(config.depth))
    fewest = rate
    for _ in range(config.depth):
        fewest = max(-(-(fewest - kernel) // stride) + 1, 1) + config.context - 1
    more = (config.context * stride - kernel) * levels
    frames = max(-(-(rate * samples + more) // scale), fewest)
    length = frames * scale + (kernel - stride) * levels
    return -(-length // rate)
