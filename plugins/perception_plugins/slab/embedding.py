"""What makes the tokens of a stage, and the feed-forward net of PVTv2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import absorb, fold_into_next
from perception.models.image_backbones.mit import MixFFN
from perception.models.metaformer.norm import token_norm
from perception.models.metaformer.patch_embedding import PatchEmbedding
from perception.models.token_layout import keep_real, map_of
from perception.registry import MODELS


@MODELS.register_module()
class PaddedPatchEmbedding(PatchEmbedding):
    """A `PatchEmbedding` of patches that do not overlap; pictures are filled up with zeros to whole patches.

    Args:
        in_channels: width of the picture.
        channels: width of the tokens.
        patch: side of a patch.
        norm: of the tokens, see `token_norm`.
    """

    def __init__(
        self, in_channels: int, channels: int, *, patch: int = 4, norm: str | Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(in_channels, channels, kernel=patch, stride=patch, padding=0, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, h, w), rounded up."""
        return super().forward(F.pad(x, (0, -x.shape[3] % self.stride, 0, -x.shape[2] % self.stride)))


@MODELS.register_module()
class SlabPatchMerging(nn.Module):
    """The four neighbours of each square as one token, a norm, and a linear layer (Swin Transformer, section 3.1).

    Args:
        in_channels: width of the finer map.
        channels: width of the coarser one.
        norm: of the joined tokens, see `token_norm`.
    """

    stride = 2

    def __init__(self, in_channels: int, channels: int, *, norm: str | Mapping[str, Any] | None = "layer") -> None:
        super().__init__()
        self.norm = token_norm(norm, 4 * in_channels)
        self.reduction = nn.Linear(4 * in_channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H / 2, W / 2), rounded up; a last odd row or column gets a neighbour of zeros."""
        x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)).permute(0, 2, 3, 1)               # (B, H', W', C_in)
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        joined = torch.cat(corners, dim=3)                                                     # (B, h, w, 4 C_in)
        tokens = self.reduction(self.norm(joined.flatten(1, 2)))
        return map_of(tokens, (joined.shape[1], joined.shape[2]))

    def fold_batch_norm(self) -> None:
        """Give a norm of channels to the linear layer."""
        fold_into_next(self, "norm", self.reduction)


@MODELS.register_module()
class DepthwiseFeedForward(MixFFN):
    """A `MixFFN` in the place of a channel mixer; it needs the map, so it is none by itself.

    Args:
        channels: width C of the tokens.
        ratio: hidden over outer width.
    """

    def __init__(self, channels: int, *, ratio: float = 4.0) -> None:
        super().__init__(channels, int(channels * ratio))

    def forward(self, tokens: Tensor, size: tuple[int, int], mask: Tensor | None = None) -> Tensor:
        """(B, N, C) tokens of a map of H, W -> (B, N, C); where ``mask`` (B, N) is False they become 0."""
        return keep_real(super().forward(tokens, size), mask)

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over."""
        absorb(self.fc1, scale, shift)
