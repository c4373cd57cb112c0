"""FlatFormer: a pillar transformer that attends within equal-sized groups, cut from sorted windows.

"FlatFormer: Flattened Window Attention for Efficient Point Cloud Transformer" (Liu et al., CVPR 2023).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.models.mixers.feed_forward import FeedForward
from perception.precision import computes_in_bfloat16
from perception.registry import MODELS
from perception_ops import GroupLayerWeights, bev_scatter, group_layer, serves_group_layer, window_partition

from .attention import GroupAttention, TokenGroups
from .position_code import position_code

ORDERS = ("x", "x_shift", "y", "y_shift")            # how the tokens of the four layers of a block are sorted


class FlatFormerLayer(nn.Module):
    """Group mixing and a feed-forward part, each followed by the sum with its input and a LayerNorm.

    Args:
        channels: token width C.
        mixer: config of a token mixer, which is given ``channels``. Unless it offers ``mix_tokens`` as `GroupAttention`
            does, it gets the gathered groups (G, S, C), the position code added, each as a map of one row in the order
            of the sorted tokens, and the mask (G, S) of the slots that count.
        ffn_ratio: hidden width of the feed-forward part over C.
        feed_forward: config of a channel mixer in place of that part, which is given ``channels``.
    """

    def __init__(
        self, channels: int, mixer: Mapping[str, Any], *, ffn_ratio: int = 2,
        feed_forward: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.mixer = MODELS.build({"channels": channels, **mixer})
        self.norm1 = nn.LayerNorm(channels)
        feed_forward = {"type": "FeedForward", "ratio": ffn_ratio} if feed_forward is None else feed_forward
        self.ffn = MODELS.build({"channels": channels, **feed_forward})
        for linear in (module for module in self.ffn.modules() if isinstance(module, nn.Linear)):
            nn.init.xavier_uniform_(linear.weight)
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, position: Tensor, groups: TokenGroups) -> Tensor:
        """(N, C), position code (N, C) -> (N, C)."""
        if self._is_whole and serves_group_layer(tokens, self.ffn.fc1.out_features):
            return group_layer(
                tokens, position, groups.slots, groups.back, groups.valid, self._weights(self.mixer),
                group_size=groups.size, num_heads=self.mixer.num_heads, eps=self.norm1.eps,
            )
        mix = getattr(self.mixer, "mix_tokens", self._mix_gathered)
        tokens = self.norm1(tokens + mix(tokens, position, groups))
        return self.norm2(tokens + self.ffn(tokens[None])[0])

    @property
    def _is_whole(self) -> bool:
        """Whether it is made as published, with no head or branch pruned."""
        mixer, is_fed = self.mixer, isinstance(self.ffn, FeedForward) and self.ffn.activation == "gelu"
        if not (is_fed and isinstance(mixer, GroupAttention)) or mixer.top_k is not None:
            return False
        return mixer.proj.in_features == mixer.proj.out_features

    def _weights(self, mixer: GroupAttention) -> GroupLayerWeights:
        parts = (mixer.qkv, mixer.proj, self.norm1, self.ffn.fc1, self.ffn.fc2, self.norm2)
        return GroupLayerWeights(*(parameter for part in parts for parameter in (part.weight, part.bias)))

    def _mix_gathered(self, tokens: Tensor, position: Tensor, groups: TokenGroups) -> Tensor:
        placed = torch.index_select(tokens + position, 0, groups.slots).unflatten(0, (-1, groups.size))  # (G, S, C)
        mask = None if groups.valid is None else groups.valid.view(-1, groups.size)
        return self.mixer(placed, (1, groups.size), mask).flatten(0, 1).index_select(0, groups.back)


class FlatFormerBlock(nn.Module):
    """Four layers, one for each of `ORDERS`; arguments as for `FlatFormerLayer`."""

    def __init__(self, channels: int, mixer: Mapping[str, Any], **options: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FlatFormerLayer(channels, mixer, **options) for _ in ORDERS)

    def forward(self, tokens: Tensor, position: Tensor, orders: Sequence[TokenGroups]) -> Tensor:
        """(N, C), position code (N, C) -> (N, C)."""
        for layer, groups in zip(self.layers, orders, strict=True):
            tokens = layer(tokens, position, groups)
        return tokens


@MODELS.register_module(role="lidar_backbone")
class FlatFormer(nn.Module):
    """Pillars to a dense canvas through blocks of four layers that sort them along x, y and shifted windows.

    A sample with fewer tokens than a group forms one group of its own tokens; an empty one gives an empty canvas.

    Args:
        channels: token width C.
        grid: number of cells along x and y.
        window: cells of a window along x and y (every published config: 13 x 13).
        group_size: tokens of a group (every published config: 144).
        num_blocks: blocks of four layers.
        mixer: config of what mixes the tokens of a group, see `FlatFormerLayer`; None is `GroupAttention` with
            ``num_heads``.
        num_heads: heads of the default mixer.
        ffn_ratio: hidden width of the feed-forward parts over C.
        feed_forward: config of channel mixers in place of those parts, see `FlatFormerLayer`.
        temperature: of the position code.
        normalize_position: bring cell indices to [0, 2 pi) before the position code.
    """

    def __init__(
        self,
        channels: int,
        grid: Sequence[int],
        *,
        window: Sequence[int] = (9, 9),
        group_size: int = 69,
        num_blocks: int = 2,
        mixer: Mapping[str, Any] | None = None,
        num_heads: int = 8,
        ffn_ratio: int = 2,
        feed_forward: Mapping[str, Any] | None = None,
        temperature: float = 10000.0,
        normalize_position: bool = False,
    ) -> None:
        super().__init__()
        if group_size < 1 or min(window) < 1 or min(grid) < 1:
            raise ValueError(f"group_size, window and grid must be positive, got {group_size}, {window} and {grid}")
        self.channels = channels
        self.grid, self.window = (int(grid[0]), int(grid[1])), (int(window[0]), int(window[1]))
        self.group_size, self.temperature = group_size, temperature
        self.normalize_position = normalize_position
        self._lacks_bfloat16 = not computes_in_bfloat16("cpu")
        mixer = {"type": "GroupAttention", "num_heads": num_heads} if mixer is None else mixer
        self.blocks = nn.ModuleList(
            FlatFormerBlock(channels, mixer, ffn_ratio=ffn_ratio, feed_forward=feed_forward) for _ in range(num_blocks)
        )

    def forward(self, features: Tensor, coords: Tensor, batch_size: int) -> Tensor:
        """(N, C) pillars at (N, 4) int32 (batch, z, y, x), ordered by batch -> (B, C, ny, nx), empty cells 0."""
        return bev_scatter(self.encode(features, coords, batch_size), coords, batch_size, self.grid[1], self.grid[0])

    def encode(self, features: Tensor, coords: Tensor, batch_size: int) -> Tensor:
        """(N, C) pillars -> (N, C) tokens in the same order; float32 under bfloat16 autocast on a CPU that lacks it."""
        device = features.device.type
        if self._lacks_bfloat16 and device == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):  # emulated, it takes ten times as long
                return self.encode(features.float(), coords, batch_size)
        position, orders = self.position(coords), self.orders(coords, batch_size)
        for block in self.blocks:
            features = block(features, position, orders)
        return features

    def position(self, coords: Tensor) -> Tensor:
        """Position code of the tokens, (N, C)."""
        grid = self.grid if self.normalize_position else None
        return position_code(coords, self.channels, temperature=self.temperature, grid=grid)

    def orders(self, coords: Tensor, batch_size: int) -> list[TokenGroups]:
        """The groups in the four orders of `ORDERS`, which all blocks share."""
        partition = window_partition(coords, batch_size, self.grid, self.window, self.group_size)
        valid = _mask_if_needed(partition.valid)
        orders = []
        for order in partition.orders:                                                   # (N,) token by rank
            back = torch.empty_like(order).scatter_(0, order, partition.win2flat)        # (N,) slot by token
            orders.append(TokenGroups(order[partition.flat2win], back, valid, self.group_size))
        return orders


def _mask_if_needed(valid: Tensor) -> Tensor | None:
    """None where a look at the values costs nothing and tells that all slots hold tokens."""
    if valid.device.type == "cpu" and not torch.compiler.is_compiling() and bool(valid.all()):
        return None
    return valid
