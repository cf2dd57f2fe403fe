"""The cross-domain transformer of HTDemucs: attention within and between two sequences.

One sequence comes from the spectrogram, with a position for each frame and bin. The
other comes from the waveform, with a position for each frame. Sines that are added to
each sequence encode its positions. Layers alternate: in the even ones each sequence
attends to itself; in the odd ones it attends to the other one, as it was before that
layer.

    freq (batch, d, bins, frames)          time (batch, d, frames)
      │ one row per position                 │
      │ layer norm ▸ + sines of frame, bin   │ layer norm ▸ + sines of frame
    (batch, frames · bins, d)              (batch, frames, d)
      │ self-attention ▸ feed-forward        │ self-attention ▸ feed-forward
      │ cross-attention ◂────────────────────┼──▸ cross-attention
      │ feed-forward                         │ feed-forward            … n_layers
    freq (batch, d, bins, frames)          time (batch, d, frames)

The attention is the usual "multi-head" kind: the query of every position is compared
with the keys of all positions, and the output is the mean of their values, weighted by
how well query and key match. Each head does this on its own part of the d features.

The variants of HTDemucs take it apart: all layers may be of one kind, one sequence may
attend to itself alone, and the attention may be linear, see LinearAttention.

Papers: Rouard, Massa, Défossez 2023, "Hybrid transformers for music source separation"
    (ICASSP); attention: Vaswani et al. 2017, "Attention is all you need"; linear
    attention: Katharopoulos et al. 2020, "Transformers are RNNs" (ICML).
Origin: github.com/adefossez/demucs (MIT), demucs.transformer; same parameter names.
Left out: sparse attention, learned and CAPE positions, norms after the attention and
    decays, as no published model has them.
Notebook: 11.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.models.blocks.dconv import LayerScale


def sines_1d(frames: int, width: int, period: float = 10000.0) -> Tensor:
    """The positions of a sequence as cosines and sines, from fast to slow.

    Args:
        frames: length of the sequence.
        width: numbers per position, even and at least 4.
        period: of the slowest sine, in 2π frames.

    Returns:
        (frames, width): first all cosines, then all sines.
    """
    position = torch.arange(frames)[:, None]
    half = width // 2
    phase = position / period ** (torch.arange(half) / (half - 1))
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


def sines_2d(bins: int, frames: int, width: int, period: float = 10000.0) -> Tensor:
    """Positions in a spectrogram: half of the numbers encode the frame, half the bin.

    Args:
        bins: height of the spectrogram.
        frames: its width in time.
        width: numbers per position, a multiple of 4.
        period: upper limit of that of the slowest sine, in 2π frames or bins.

    Returns:
        (frames, bins, width): sines and cosines of the frame in turn, then of the bin.
    """
    half = width // 2
    speed = torch.exp(torch.arange(0.0, half, 2) * -(math.log(period) / half))

    def waves(positions: int) -> Tensor:
        phase = torch.arange(positions)[:, None] * speed
        return torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(1)

    of_frame = waves(frames)[:, None].expand(-1, bins, -1)
    of_bin = waves(bins)[None].expand(frames, -1, -1)
    return torch.cat([of_frame, of_bin], dim=-1)


class Attention(nn.Module):
    """Multi-head attention; the same parameters and values as nn.MultiheadAttention.

    Args:
        width: features of a position, a multiple of `n_heads`.
        n_heads: each head works on width / n_heads features.
        dropout: share of the attention weights that are set to zero in training.
    """

    def __init__(self, width: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        assert width % n_heads == 0
        self.n_heads = n_heads
        self.dropout = dropout
        # The projections to queries, keys and values are rows of one matrix.
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key_value: Tensor) -> Tensor:
        """(batch, queries, width), (batch, keys, width) -> (batch, queries, width)."""
        # b batch, h head, m position, d feature of a head
        q, k, v = self.project(query, key_value)
        dropout = self.dropout if self.training else 0.0
        mean_values = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return self.out_proj(rearrange(mean_values, "b h m d -> b m (h d)"))

    def project(self, query: Tensor, key_value: Tensor) -> list[Tensor]:
        """Queries, keys and values, (batch, heads, positions, width / heads) each."""
        width = query.shape[-1]
        weights = self.in_proj_weight.split([width, 2 * width])
        biases = self.in_proj_bias.split([width, 2 * width])
        q = F.linear(query, weights[0], biases[0])
        k, v = F.linear(key_value, weights[1], biases[1]).chunk(2, dim=-1)
        return [rearrange(x, "b m (h d) -> b h m d", h=self.n_heads) for x in (q, k, v)]

    def inside(self, query: Tensor, key_value: Tensor) -> dict[str, Tensor]:
        """The attention weights, (batch, heads, queries, keys), with sum 1 over keys.

        `forward` computes and uses them piece by piece, so it never holds all of them.
        """
        q, k, _ = self.project(query, key_value)
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        return {"attention": scores.softmax(dim=-1)}


class LinearAttention(nn.Module):
    """Attention whose cost grows with the length of a sequence, not with its square.

    The match of query q and key k is φ(q) · φ(k) with φ(x) = elu(x) + 1, which is
    positive, in place of exp(q · k). So the sums over all keys do not depend on the
    query, and they are computed once:

        mean value = φ(q) · Σ φ(k) v / φ(q) · Σ φ(k)

    Args:
        width: features of a position, a multiple of `n_heads`.
        n_heads: each head works on width / n_heads features.
        dropout: share of the means that are set to zero in training.

    Source: Katharopoulos et al. 2020, "Transformers are RNNs" (ICML).
    """

    def __init__(self, width: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        assert width % n_heads == 0
        self.n_heads = n_heads
        self.q, self.k, self.v, self.proj = (nn.Linear(width, width) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, key_value: Tensor) -> Tensor:
        """(batch, queries, width), (batch, keys, width) -> (batch, queries, width)."""
        # b batch, h head, m position, d feature of a head
        projected = (self.q(query), self.k(key_value), self.v(key_value))
        q, k, v = (
            rearrange(x, "b m (h d) -> b h m d", h=self.n_heads) for x in projected
        )
        q, k = F.elu(q) + 1, F.elu(k) + 1
        total = q @ k.sum(2).unsqueeze(-1)
        mean_values = self.dropout(q @ (k.mT @ v) / (total + 1e-6))
        return self.proj(rearrange(mean_values, "b h m d -> b m (h d)"))


AttentionKind = type[Attention] | type[LinearAttention]


class Layer(nn.Module):
    """Parts that both kinds of layers have: feed-forward, scales, last norm."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)
        self.gelu = nn.GELU()
        # Both branches start small, so that a deep stack starts near the identity.
        self.gamma_1 = LayerScale(width, 1e-4, channel_last=True)
        self.gamma_2 = LayerScale(width, 1e-4, channel_last=True)
        self.norm_out = nn.GroupNorm(1, width)

    def feed_forward(self, x: Tensor) -> Tensor:
        """The same small network for each position of (batch, positions, width)."""
        x = self.dropout(self.gelu(self.linear1(x)))
        return self.gamma_2(self.dropout(self.linear2(x)))

    def normalize(self, x: Tensor) -> Tensor:
        """Mean 0, variance 1 over all positions and features at once."""
        return self.norm_out(x.mT).mT


class SelfAttentionLayer(Layer):
    """Each position of a sequence attends to all positions of the same sequence."""

    def __init__(
        self,
        width: int,
        hidden: int,
        n_heads: int,
        dropout: float,
        attention: AttentionKind = Attention,
    ) -> None:
        super().__init__(width, hidden, dropout)
        self.self_attn = attention(width, n_heads, dropout)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, positions, width) -> the same shape."""
        normed = self.norm1(x)
        x = x + self.gamma_1(self.dropout(self.self_attn(normed, normed)))
        x = x + self.feed_forward(self.norm2(x))
        return self.normalize(x)


class CrossAttentionLayer(Layer):
    """Each position of a sequence attends to all positions of the other sequence."""

    def __init__(
        self,
        width: int,
        hidden: int,
        n_heads: int,
        dropout: float,
        attention: AttentionKind = Attention,
    ) -> None:
        super().__init__(width, hidden, dropout)
        self.cross_attn = attention(width, n_heads, dropout)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Both (batch, positions, width), each of its own length -> the shape of x."""
        from_other = self.cross_attn(self.norm1(x), self.norm2(other))
        x = x + self.gamma_1(self.dropout(from_other))
        x = x + self.feed_forward(self.norm3(x))
        return self.normalize(x)


class CrossDomainTransformer(nn.Module):
    """Layers over both branches; see above.

    Args:
        width: features of both branches, a multiple of 4 and of `n_heads`.
        n_layers: layers in each branch; those of odd index are cross-attention.
        n_heads: heads of every attention.
        hidden_scale: hidden width of the feed-forward parts, as a multiple of `width`.
        dropout: share of values that are set to zero in training.
        cross_only: all layers are cross-attention.
        attention: Attention or LinearAttention.
    """

    def __init__(
        self,
        width: int,
        n_layers: int,
        n_heads: int,
        hidden_scale: float = 4.0,
        dropout: float = 0.0,
        *,
        cross_only: bool = False,
        attention: AttentionKind = Attention,
    ) -> None:
        super().__init__()
        assert width % 4 == 0
        hidden = int(width * hidden_scale)

        def stack() -> nn.ModuleList:
            kinds = [SelfAttentionLayer, CrossAttentionLayer]
            if cross_only:
                kinds = [CrossAttentionLayer]
            return nn.ModuleList(
                kinds[i % len(kinds)](width, hidden, n_heads, dropout, attention)
                for i in range(n_layers)
            )

        self.norm_in = nn.LayerNorm(width)
        self.norm_in_t = nn.LayerNorm(width)
        self.layers = stack()
        self.layers_t = stack()

    def forward(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, width, bins, frames), (batch, width, frames) -> the same shapes.

        The frames of the two branches differ in number.
        """
        # b batch, d feature, f bin, m frame
        width, bins, frames = freq.shape[1:]
        x = self.norm_in(rearrange(freq, "b d f m -> b (m f) d"))
        x = x + sines_2d(bins, frames, width).flatten(0, 1).to(x)
        y = self.norm_in_t(rearrange(time, "b d m -> b m d"))
        y = y + sines_1d(y.shape[1], width).to(y)
        for layer, layer_t in zip(self.layers, self.layers_t, strict=True):
            if isinstance(layer, CrossAttentionLayer):
                x, y = layer(x, y), layer_t(y, x)
            else:
                x, y = layer(x), layer_t(y)
        x = rearrange(x, "b (m f) d -> b d f m", f=bins)
        return x, rearrange(y, "b m d -> b d m")


class SelfTransformer(nn.Module):
    """Layers of self-attention over one sequence; arguments as above."""

    def __init__(
        self, width: int, n_layers: int, n_heads: int, hidden_scale: float = 4.0
    ) -> None:
        super().__init__()
        assert width % 4 == 0
        hidden = int(width * hidden_scale)
        self.norm_in = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            SelfAttentionLayer(width, hidden, n_heads, dropout=0.0)
            for _ in range(n_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, frames) -> the same shape."""
        # The positions are those of a spectrogram with a single bin.
        places = sines_2d(1, x.shape[-1], x.shape[1]).flatten(0, 1).to(x)
        y = self.norm_in(x.mT) + places
        for layer in self.layers:
            y = layer(y)
        return y.mT
