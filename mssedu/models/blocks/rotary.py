"""Attention with rotary positions, along two axes in turn: the RoFormers.

Attention alone has no order: a query meets all keys alike. Rotary positions turn each
pair of features of a query or key by an angle, its position times a speed of the pair.
The product of a query and a key then depends on the difference of their positions only.

    (batch, frames, bands, width)
      │ per layer:
      │   each band alone, along its frames:
      │     norm ▸ rotary attention, each head with a gate ▸ plus the input
      │     norm ▸ linear 4 · width ▸ GELU ▸ linear ▸ plus the input
      │   each frame alone, along its bands: the same
    (batch, frames, bands, width)

Used by: BS-RoFormer, Mel-Band RoFormer.
Source: Su, Lu, Pan, Murtadha, Wen, Liu 2021, "RoFormer: enhanced transformer with
rotary position embedding"; gates as in github.com/lucidrains/BS-RoFormer (MIT).
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import InputError, check_range

SLOWEST = 10000  # positions after which the slowest pair has turned by 1 (radian)
HIDDEN_SCALE = 4  # width of the feed-forward parts / width


def check_axial(width: int, n_layers: int, n_heads: int, head_width: int) -> None:
    """Raise InputError for a size that no `AxialTransformer` can have."""
    for name, size in (("width", width), ("n_layers", n_layers), ("n_heads", n_heads)):
        check_range(name, size, 1)
    if head_width < 2 or head_width % 2:
        raise InputError(
            f"head_width must be even and at least 2, got {head_width}: rotary "
            "positions turn its features in pairs."
        )


class RMSNorm(nn.Module):
    """Divide the last axis by its root mean square, then multiply by learned gains.

    Zeros stay zeros.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) -> the same shape."""
        return F.normalize(x, dim=-1) * self.gain.numel() ** 0.5 * self.gain


class RotaryPositions(nn.Module):
    """Cosines and sines of the angles of all positions, for all layers of an axis.

    Args:
        width: features of a head, an even number.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        assert width % 2 == 0
        # Constants, but published weights hold them, and papers count them.
        self.speeds = nn.Parameter(torch.empty(width // 2), requires_grad=False)
        self.speeds.copy_(1.0 / SLOWEST ** (torch.arange(0, width, 2) / width))

    def forward(self, n_positions: int) -> Tensor:
        """(2, positions, width / 2): cosine and sine for each position and pair."""
        positions = torch.arange(n_positions, device=self.speeds.device)
        angles = positions.to(self.speeds.dtype)[:, None] * self.speeds
        return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn each pair of neighboring features by the angle of its position.

    Args:
        x: (…, positions, width).
        turns: (2, positions, width / 2), of `RotaryPositions`.

    Returns:
        in the shape and type of x.

    Example:
        >>> turns = RotaryPositions(2)(3)
        >>> rotate(torch.tensor([[1.0, 0.0]] * 3), turns)[1]  # by 1 radian
        tensor([0.5403, 0.8415])
    """
    cosine, sine = turns
    # Slices would do, but each would get a gradient of the size of x, full of zeros.
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return torch.stack(turned, dim=-1).flatten(-2).to(x.dtype)


class RotaryAttention(nn.Module):
    """Multi-head attention of a sequence to itself; each head has a gate.

    Args:
        width: features of a position.
        n_heads: number of heads.
        head_width: features of a query, key or value, an even number.
        dropout: share of attention weights that are set to zero in training, and then
            of the result.
    """

    def __init__(
        self, width: int, n_heads: int, head_width: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm = RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * n_heads * head_width, bias=False)
        self.gates = nn.Linear(width, n_heads)
        self.out = nn.Linear(n_heads * head_width, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        """(sequences, positions, width) -> the same shape.

        `turns` are the result of `RotaryPositions` for these positions.
        """
        # b sequence, m position, h head, d feature of a head
        x = self.norm(x)
        q, k, v = self.project(x, turns)
        dropout = self.dropout.p if self.training else 0.0
        values = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        gates = rearrange(self.gates(x).sigmoid(), "b m h -> b h m 1")
        values = rearrange(values * gates, "b h m d -> b m (h d)")
        return self.dropout(self.out(values))

    def project(self, normed: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, turned, and values, (sequences, heads, positions, …)."""
        pattern = "b m (n h d) -> n b h m d"
        q, k, v = rearrange(self.qkv(normed), pattern, n=3, h=self.n_heads)
        return rotate(q, turns), rotate(k, turns), v

    def inside(self, x: Tensor, turns: Tensor) -> dict[str, Tensor]:
        """The attention weights, (sequences, heads, queries, keys), of sum 1 over keys.

        `forward` computes and uses them piece by piece, so it never holds all of them.
        """
        q, k, _ = self.project(self.norm(x), turns)
        return {"attention": (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)}


class RotaryLayer(nn.Module):
    """Attention and a feed-forward part, each added to its input.

    Args:
        width: features of a position.
        n_heads: heads of the attention.
        head_width: features of a head.
        dropout: in both parts.
        norm: a norm at the end, of the sum.
    """

    def __init__(
        self,
        width: int,
        n_heads: int,
        head_width: int,
        dropout: float = 0.0,
        *,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.attend = RotaryAttention(width, n_heads, head_width, dropout)
        self.feed_forward = nn.Sequential(
            RMSNorm(width),
            nn.Linear(width, HIDDEN_SCALE * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(HIDDEN_SCALE * width, width),
            nn.Dropout(dropout),
        )
        self.norm = RMSNorm(width) if norm else nn.Identity()

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        """(sequences, positions, width) -> the same shape."""
        x = x + self.attend(x, turns)
        return self.norm(x + self.feed_forward(x))


class AxialTransformer(nn.Module):
    """Layers that attend along the frames, then along the bands.

    Attention over all frames and bands at once would have to compare 62 · 800 positions
    of 8 seconds with each other; along one axis at a time it compares 800, then 62.

    Args:
        n_layers: pairs of a layer along time and one along the bands.
        width: features of a position.
        n_heads: heads of each attention.
        head_width: features of a head.
        dropout: in all layers.
        norm: a norm at the end of each layer.
    """

    def __init__(
        self,
        n_layers: int,
        width: int,
        n_heads: int,
        head_width: int,
        dropout: float = 0.0,
        *,
        norm: bool = False,
    ) -> None:
        super().__init__()

        def stack() -> nn.ModuleList:
            sizes = (width, n_heads, head_width, dropout)
            return nn.ModuleList(
                RotaryLayer(*sizes, norm=norm) for _ in range(n_layers)
            )

        self.time_positions = RotaryPositions(head_width)
        self.band_positions = RotaryPositions(head_width)
        self.time_layers = stack()
        self.band_layers = stack()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, bands, width) -> the same shape."""
        # b batch, m frame, k band, d feature
        batch, frames, bands = x.shape[:3]
        time, band = self.time_positions(frames), self.band_positions(bands)
        for along_time, along_bands in zip(
            self.time_layers, self.band_layers, strict=True
        ):
            x = along_time(rearrange(x, "b m k d -> (b k) m d"), time)
            x = rearrange(x, "(b k) m d -> (b m) k d", b=batch)
            x = along_bands(x, band)
            x = rearrange(x, "(b m) k d -> b m k d", b=batch)
        return x
