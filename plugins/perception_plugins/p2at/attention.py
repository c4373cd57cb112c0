"""Scale-aware semantic aggregation: axial attention over pooled maps, gated by local details.

"P2AT: Pyramid Pooling Axial Transformer for Real-time Semantic Segmentation" (arXiv 2310.15025), section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import ConvPReLU, conv1x1, conv_norm

PYRAMIDS = {"p1p1p3": (0, 0, 2), "p1p2p3": (0, 1, 2)}


class LocalDetails(nn.Module):
    """A 1x1 convolution, and what a 3x3 one adds to it.

    Args:
        in_channels: width of the input.
        channels: width of the output.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.point = conv_norm(in_channels, channels)
        self.around = conv_norm(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H, W)."""
        point = self.point(x)
        return point + self.around(point)


class PyramidPooling(nn.Module):
    """Cascaded average pools that keep the size, mixed channel by channel; the result scales the map.

    Args:
        in_channels: width of the input.
        channels: width of the output.
        pyramid: which of the three pools are mixed: "p1p1p3", as released, or "p1p2p3", as the paper has it.

    Raises:
        ValueError: the pyramid is another.
    """

    def __init__(self, in_channels: int, channels: int, *, pyramid: str = "p1p1p3") -> None:
        super().__init__()
        if pyramid not in PYRAMIDS:
            raise ValueError(f"pyramid must be one of {', '.join(PYRAMIDS)}, got {pyramid!r}")
        self.mixed_pools = PYRAMIDS[pyramid]
        self.embed = ConvPReLU(in_channels, channels)
        self.mix = ConvPReLU(3 * channels, channels, 3, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H, W)."""
        embedded = self.embed(x)
        pools = [embedded]
        for size in (3, 5, 7):                       # zeros beyond the border count
            pools.append(F.avg_pool2d(pools[-1], size, stride=1, padding=size // 2))
        return embedded * self.mix(torch.cat([pools[1 + number] for number in self.mixed_pools], dim=1))


class PositionTable(nn.Module):
    """A learned code of the place along an axis, resized to any length.

    Args:
        channels: width.
        length: of the table.
    """

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, channels, length))

    def forward(self, length: int) -> Tensor:
        """(1, C, length)."""
        return F.interpolate(self.table, size=length, mode="linear", align_corners=False)


class AxisAttention(nn.Module):
    """Multi-head attention along one axis of a map that has been averaged over the other.

    Args:
        num_heads: attention heads.
        key_dim: width of queries and keys a head.
        table_length: length of the position tables.
    """

    def __init__(self, num_heads: int, key_dim: int, table_length: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_place = PositionTable(num_heads * key_dim, table_length)
        self.key_place = PositionTable(num_heads * key_dim, table_length)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries and keys (B, heads * D_k, L), values (B, heads * D_v, L) -> (B, heads * D_v, L)."""
        length = q.shape[2]
        placed = (q + self.query_place(length), k + self.key_place(length), v)
        q, k, v = (part.unflatten(1, (self.num_heads, -1)).transpose(2, 3) for part in placed)   # (B, heads, L, D)
        return F.scaled_dot_product_attention(q, k, v).transpose(2, 3).flatten(1, 2)


class PyramidAxialAttention(nn.Module):
    """Attention along the rows and along the columns of a pooled map; local details gate the result (P2A2).

    Args:
        channels: width of the map.
        key_dim: width of queries and keys a head.
        num_heads: attention heads.
        attn_ratio: width of a head's values over ``key_dim``.
        table_length: length of the position tables.
        pyramid: see `PyramidPooling`.
    """

    def __init__(
        self,
        channels: int,
        *,
        key_dim: int = 16,
        num_heads: int = 8,
        attn_ratio: float = 2.0,
        table_length: int = 16,
        pyramid: str = "p1p1p3",
    ) -> None:
        super().__init__()
        keys, values = num_heads * key_dim, num_heads * int(attn_ratio * key_dim)
        self.details = LocalDetails(channels, channels)
        self.pooling = PyramidPooling(channels, channels, pyramid=pyramid)
        self.to_q, self.to_k = conv1x1(channels, keys), conv1x1(channels, keys)
        self.to_v = conv1x1(channels, values)
        self.rows = AxisAttention(num_heads, key_dim, table_length)
        self.columns = AxisAttention(num_heads, key_dim, table_length)
        self.project_rows = ConvPReLU(values, values)
        self.project_columns = conv1x1(values, values)
        self.project = ConvPReLU(values, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        pooled = self.pooling(x)
        rows, columns = self.attend(pooled)                                  # (B, V, H, 1), (B, V, 1, W)
        return self.project(self.to_v(pooled) + (rows + columns)) * self.details(x)

    def attend(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> what attention gives each row (B, V, H, 1) and each column (B, V, 1, W).

        Queries, keys and values are linear in the map, so the average of them is that of the map, projected.
        """
        H, W = pooled.shape[2:]
        means = torch.cat([pooled.mean(dim=3), pooled.mean(dim=2)], dim=2)[..., None]            # (B, C, H + W, 1)
        projected = [layer(means)[..., 0].split((H, W), dim=2) for layer in (self.to_q, self.to_k, self.to_v)]
        rows, columns = (
            axis(*parts) for axis, parts in zip((self.rows, self.columns), zip(*projected, strict=True), strict=True)
        )
        return self.project_rows(rows[..., None]), self.project_columns(columns[:, :, None])


class ConvMlp(nn.Module):
    """Up by a 1x1 convolution, a depthwise 3x3 one, ReLU, and down again.

    Args:
        channels: width of the map.
        hidden: width between.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.up = conv1x1(channels, hidden)
        self.around = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.down = conv1x1(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.down(self.around(self.up(x)).relu())


class AxialLayer(nn.Module):
    """Attention and an MLP, each added to its input; there is no normalisation before them.

    Args:
        attention: (B, C, H, W) -> (B, C, H, W).
        mlp: likewise.
    """

    def __init__(self, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.attention, self.mlp = attention, mlp

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = x + self.attention(x)
        return x + self.mlp(x)
