"""Parts of the Demucs family: a BiLSTM, local attention, and DConv, which holds both.

    x (batch, width, frames) ─────────────────────────────────────────────┐
      │ convolution to width / compress ▸ norm ▸ GELU                     │
      │ [ BiLSTM, 200 frames at a time ]   [ local attention ]            │
      │ 1 × 1 to 2 · width ▸ norm ▸ GLU ▸ × a small number a channel      │
      └──────────────────────────────── + ────────────────────────────────┘  … depth

DConv is a narrow residual network that is added to a layer's output. The small numbers
(LayerScale) start near 0, so a new model computes almost the same as without DConv.

Papers: Défossez et al. 2019, "Music source separation in the waveform domain" (BiLSTM,
    rescaled weights); Défossez 2021, "Hybrid spectrogram and waveform source
    separation" (DConv, local attention); Touvron et al. 2021 (LayerScale).
Origin: github.com/adefossez/demucs (MIT), demucs.demucs; parameters have its names.
Left out: the attention's cosines, as no published model has them.
Notebook: 10.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

LSTM_FRAMES = 200  # length of the spans that the BiLSTM of a DConv works on


class BiLSTM(nn.Module):
    """LSTM in both directions and a linear layer back to the width of the input.

    Args:
        width: features of a frame, in and out.
        n_layers: of the LSTM.
        max_frames: a longer input is cut into half overlapping spans of this length, a
            multiple of 4; each output frame is from the span whose ends are farthest.
        skip: whether to add the input to the output.
    """

    def __init__(
        self,
        width: int,
        n_layers: int = 1,
        max_frames: int | None = None,
        skip: bool = False,
    ) -> None:
        super().__init__()
        assert max_frames is None or max_frames % 4 == 0
        self.max_frames = max_frames
        self.skip = skip
        self.lstm = nn.LSTM(width, width, n_layers, bidirectional=True)
        self.linear = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, frames) -> the same shape."""
        # b batch (or batch · spans), d feature, m frame
        frames = x.shape[-1]
        length = self.max_frames or frames
        spans = cut(x, length) if frames > length else x
        y = self.linear(self.lstm(rearrange(spans, "b d m -> m b d"))[0])
        y = rearrange(y, "m b d -> b d m")
        y = join(y, len(x))[..., :frames] if frames > length else y
        return x + y if self.skip else y


def cut(x: Tensor, length: int) -> Tensor:
    """(batch, width, frames) -> half overlapping spans (batch · spans, width, length).

    Zeros fill the last spans.
    """
    # b batch, n span, d feature, m frame
    stride = length // 2
    n_spans = math.ceil(x.shape[-1] / stride)
    padded = F.pad(x, (0, (n_spans - 1) * stride + length - x.shape[-1]))
    return rearrange(padded.unfold(-1, length, stride), "b d n m -> (b n) d m")


def join(spans: Tensor, batch: int) -> Tensor:
    """The inverse of `cut`; it drops the outer quarters of the inner spans."""
    # b batch, n span, d feature, m frame
    spans = rearrange(spans, "(b n) d m -> b n d m", b=batch)
    quarter = spans.shape[-1] // 4
    middle = rearrange(spans[:, 1:-1, :, quarter:-quarter], "b n d m -> b d (n m)")
    first, last = spans[:, 0, :, :-quarter], spans[:, -1, :, quarter:]
    return torch.cat([first, middle, last], dim=-1)


class LocalAttention(nn.Module):
    """Attention that learns, for each frame, how fast its weights fall with distance.

    Each head compares a frame with all other frames, but not with itself. It subtracts
    from each score the distance in frames times a rate. The rate is a weighted sum of
    `n_decays` fixed rates, and the frame itself determines the weights.
    """

    def __init__(self, width: int, n_heads: int = 4, n_decays: int = 4) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.content = nn.Conv1d(width, width, 1)
        self.query = nn.Conv1d(width, width, 1)
        self.key = nn.Conv1d(width, width, 1)
        self.query_decay = nn.Conv1d(width, n_heads * n_decays, 1)
        weight, bias = self.query_decay.parameters()
        with torch.no_grad():  # slow decay at first, so that far frames count too
            weight.mul_(0.01)
            bias.fill_(-2)
        self.proj = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, frames) -> the same shape, the input added."""
        # b batch, h head, d feature of a head, m frame
        content = rearrange(self.content(x), "b (h d) m -> b h d m", h=self.n_heads)
        weighted = content @ self.inside(x)["attention"].mT
        return x + self.proj(rearrange(weighted, "b h d m -> b (h d) m"))

    def inside(self, x: Tensor) -> dict[str, Tensor]:
        """The attention weights, (batch, heads, queries, keys); each row sums to 1."""
        # b batch, h head, d feature of a head, m frame
        split = "b (h d) m -> b h m d"
        query = rearrange(self.query(x), split, h=self.n_heads)
        key = rearrange(self.key(x), split, h=self.n_heads)
        share = rearrange(self.query_decay(x), split, h=self.n_heads).sigmoid() / 2
        # As integers first: the exporter to ONNX gets a range of floats wrong.
        frame = torch.arange(x.shape[-1], device=x.device).to(x.dtype)
        rate = torch.arange(1, share.shape[-1] + 1, device=x.device).to(x.dtype)
        rate = (share * rate).sum(-1, keepdim=True) / rate.shape[0] ** 0.5
        distance = (frame[:, None] - frame).abs()
        score = query @ key.mT / key.shape[-1] ** 0.5 - rate * distance
        # No frame attends to itself: `forward` adds the input anyway.
        score = score.masked_fill(distance == 0, -100)
        return {"attention": score.softmax(-1)}


class LayerScale(nn.Module):
    """One learned factor per channel, small at first."""

    def __init__(self, width: int, init: float, channel_last: bool = False) -> None:
        super().__init__()
        self.channel_last = channel_last
        self.scale = nn.Parameter(torch.full((width,), float(init)))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, frames), or (…, width) if `channel_last` -> the same shape."""
        return x * (self.scale if self.channel_last else self.scale[:, None])


class DConv(nn.Module):
    """A stack of narrow residual branches, each with a wider view; see above.

    Args:
        width: channels in and out.
        compress: a branch has this many times fewer channels.
        depth: number of branches; the dilation doubles from one to the next.
        init: first value of the LayerScale.
        lstm: whether each branch has a BiLSTM.
        attention: whether each branch has a local attention.
    """

    def __init__(
        self,
        width: int,
        compress: float = 4,
        depth: int = 2,
        init: float = 1e-4,
        lstm: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        hidden = int(width / compress)
        self.layers = nn.ModuleList()
        for index in range(depth):
            dilation = 2**index
            narrow = nn.Conv1d(width, hidden, 3, dilation=dilation, padding=dilation)
            parts: list[nn.Module] = [narrow, nn.GroupNorm(1, hidden), nn.GELU()]
            if lstm:
                parts.append(BiLSTM(hidden, 2, LSTM_FRAMES, skip=True))
            if attention:
                parts.append(LocalAttention(hidden))
            wide = nn.Conv1d(hidden, 2 * width, 1)
            parts += [wide, nn.GroupNorm(1, 2 * width), nn.GLU(1)]
            self.layers.append(nn.Sequential(*parts, LayerScale(width, init)))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, frames) -> the same shape."""
        for layer in self.layers:
            x = x + layer(x)
        return x


@torch.no_grad()
def rescale_(module: nn.Module, reference: float) -> None:
    """Scale the weights of new convolutions so that their deviations are more alike.

    Weights of deviation s, and their bias, are divided by sqrt(s / reference) in place.
    """
    kinds = (nn.Conv1d, nn.ConvTranspose1d, nn.Conv2d, nn.ConvTranspose2d)
    for part in module.modules():
        if isinstance(part, kinds):
            factor = (part.weight.std() / reference).sqrt()
            part.weight.div_(factor)
            if part.bias is not None:
                part.bias.div_(factor)
