"""Mix Transformer (MiT): four stages of attention whose keys and values come from a coarser map.

"SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers" (Xie et al., NeurIPS 2021),
section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.backbone_arguments import variant_of
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS

WIDE = (64, 128, 320, 512)
VARIANTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {      # widths and blocks of the stages
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2)),
    "b1": (WIDE, (2, 2, 2, 2)),
    "b2": (WIDE, (3, 4, 6, 3)),
    "b3": (WIDE, (3, 4, 18, 3)),
    "b4": (WIDE, (3, 8, 27, 3)),
    "b5": (WIDE, (3, 6, 40, 3)),
}
BLOCK_EPS = 1e-6                                     # of the norms of blocks and stages; the others have torch's 1e-5


class OverlapPatchEmbed(nn.Module):
    """A strided convolution whose windows overlap, and a norm.

    Args:
        in_channels: width of the map.
        channels: width of the tokens.
        kernel: side of the window.
        stride: between windows.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, C_in, H, W) -> tokens (B, h * w, C) and their size h, w."""
        x = self.proj(x)
        return self.norm(tokens_of(x)), (x.shape[2], x.shape[3])


class ReducedAttention(nn.Module):
    """Self-attention whose keys and values are tokens of a map reduced by a strided convolution.

    Args:
        channels: width of the tokens, divisible by ``heads``.
        heads: of the attention.
        reduction: kernel and stride of the convolution; 1 does without.
        qkv_bias: the projections to queries, keys and values have a bias.
    """

    def __init__(self, channels: int, heads: int, reduction: int = 1, *, qkv_bias: bool = True) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels ({channels}) must be divisible by heads ({heads})")
        self.heads, self.reduction = heads, reduction
        self.q = nn.Linear(channels, channels, bias=qkv_bias)
        self.kv = nn.Linear(channels, 2 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        if reduction > 1:
            self.reduce = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) tokens of a map of H, W -> (B, N, C); what does not fill a window of the reduction is left out."""
        q = self.q(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)                  # (B, heads, N, D)
        source = tokens
        if self.reduction > 1:
            source = self.norm(tokens_of(self.reduce(map_of(tokens, size))))               # (B, M, C)
        k, v = self.kv(source).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)    # (B, heads, M, D) each
        mixed = F.scaled_dot_product_attention(q, k, v)                                    # (B, heads, N, D)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class MixFFN(nn.Module):
    """A feed-forward layer with a depthwise 3x3 convolution inside, which tells tokens where they are.

    Args:
        channels: width of the tokens.
        hidden: width inside.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) tokens of a map of H, W -> (B, N, C)."""
        hidden = tokens_of(self.dwconv(map_of(self.fc1(tokens), size)))
        return self.fc2(F.gelu(hidden))


class MiTBlock(nn.Module):
    """Attention and feed-forward, each behind a norm and beside a shortcut.

    Args:
        channels, heads, reduction, qkv_bias: of the `ReducedAttention`.
        expansion: hidden over outer width of the `MixFFN`.
        drop_path: probability that a sample goes without a branch in training.
    """

    def __init__(
        self, channels: int, heads: int, reduction: int = 1, *, expansion: float = 4, qkv_bias: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=BLOCK_EPS)
        self.attn = ReducedAttention(channels, heads, reduction, qkv_bias=qkv_bias)
        self.norm2 = nn.LayerNorm(channels, eps=BLOCK_EPS)
        self.ffn = MixFFN(channels, int(channels * expansion))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) tokens of a map of H, W -> (B, N, C)."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens), size))
        return tokens + self.drop_path(self.ffn(self.norm2(tokens), size))


class MiTStage(nn.Module):
    """Patch embedding, blocks and a norm.

    Args:
        embed: the patch embedding.
        blocks: the blocks.
        channels: width of the tokens.
    """

    def __init__(self, embed: OverlapPatchEmbed, blocks: Sequence[MiTBlock], channels: int) -> None:
        super().__init__()
        self.embed = embed
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(channels, eps=BLOCK_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, h, w)."""
        tokens, size = self.embed(x)
        for block in self.blocks:
            tokens = block(tokens, size)
        return map_of(self.norm(tokens), size)


def init_linear_and_convolution(network: nn.Module) -> None:
    """Linear layers truncated normal, convolutions by their fan out, biases zero; norms stay the identity."""
    for module in network.modules():
        if not isinstance(module, (nn.Linear, nn.Conv2d)) or module.weight.is_meta:     # no numbers to draw
            continue
        if isinstance(module, nn.Linear):
            trunc_normal_(module.weight, std=0.02)
        else:
            rows, columns = module.kernel_size
            fan_out = rows * columns * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@MODELS.register_module(role="image_backbone")
class MixTransformer(nn.Module):
    """The encoder of SegFormer and DAFormer: maps of strides 4, 8, 16 and 32.

    Args:
        variant: "b0" to "b5" sets widths and blocks.
        channels: widths of the four stages, instead of the variant's.
        depths: blocks of the four stages, instead of the variant's.
        heads: of each stage's attention.
        reductions: of each stage's keys and values.
        expansions: of each stage's feed-forward layers.
        drop_path: of the last block; it rises linearly from 0 at the first.
        qkv_bias: see `ReducedAttention`.

    Raises:
        ValueError: the variant is unknown, something is not given for four stages, or a width not divisible by heads.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        variant: str = "b0",
        *,
        channels: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        heads: Sequence[int] = (1, 2, 5, 8),
        reductions: Sequence[int] = (8, 4, 2, 1),
        expansions: Sequence[float] = (4, 4, 4, 4),
        drop_path: float = 0.1,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        widths, counts = variant_of(VARIANTS, variant)
        self.channels = widths if channels is None else tuple(channels)
        counts = counts if depths is None else tuple(depths)
        for name, values in (
            ("channels", self.channels), ("depths", counts), ("heads", heads), ("reductions", reductions),
            ("expansions", expansions),
        ):
            if len(values) != 4:
                raise ValueError(f"{name} must be four, one a stage, got {tuple(values)}")
        self.reductions = tuple(reductions)
        rates = torch.linspace(0, drop_path, sum(counts), device="cpu").tolist()
        self.stages = nn.ModuleList()
        for stage, (width, count) in enumerate(zip(self.channels, counts, strict=True)):
            embed = OverlapPatchEmbed(
                self.channels[stage - 1] if stage else 3, width, 3 if stage else 7, 2 if stage else 4
            )
            blocks = [
                MiTBlock(
                    width, heads[stage], reductions[stage], expansion=expansions[stage], qkv_bias=qkv_bias,
                    drop_path=rates.pop(0),
                )
                for _ in range(count)
            ]
            self.stages.append(MiTStage(embed, blocks, width))
        self.init_weights()

    def init_weights(self) -> None:
        """See `init_linear_and_convolution`."""
        init_linear_and_convolution(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> four maps (B, C_i, H / s_i, W / s_i), rounded up.

        Raises:
            ValueError: a picture is so small that a stage's map does not fill one window of its reduction.
        """
        self._check_size(images.shape[2], images.shape[3])
        maps, x = [], images
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)

    def _check_size(self, height: int, width: int) -> None:
        for stride, reduction in zip(self.strides, self.reductions, strict=True):
            if min(-(-height // stride), -(-width // stride)) < reduction:
                least = (reduction - 1) * stride + 1
                raise ValueError(f"images must be at least {least} x {least} pixels, got {height} x {width}")
