"""Vision Mamba (Vim): a column of two-way scans behind one patch embedding, with the class token in the middle.

"Vision Mamba: Efficient Visual Representation Learning with Bidirectional State Space Model" (Zhu et al., ICML 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import DropPath, lecun_normal_, trunc_normal_
from torch import Tensor, nn

from perception.models.backbone_arguments import check_images, checked_indices, variant_of
from perception.models.token_layout import map_of
from perception.registry import MODELS

from .mamba import BiMambaMixer
from .middle_token import insert_middle, resized_positions, without_middle

VARIANTS: dict[str, tuple[int, int]] = {             # width, stride between patches
    "tiny": (192, 16), "tiny_plus": (192, 8), "small": (384, 16), "base": (768, 16),
}
PATCH, TRAINED_SIDE = 16, 224


class VimBlock(nn.Module):
    """A norm and a `BiMambaMixer`; the shortcut is the caller's stream, which is float32 at least.

    Args:
        channels: width C.
        state: of the mixer.
        drop_path: probability that a sample goes without the *previous* block's output in training.
    """

    def __init__(self, channels: int, *, state: int = 16, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(channels, eps=1e-5)
        self.mixer = BiMambaMixer(channels, state=state)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, hidden: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the block before gave and the stream without it (B, N, C) -> what this one gives, the stream with that.

        Before the first block there is no stream: ``hidden`` begins it.
        """
        residual = join(self.drop_path, hidden, residual)
        return self.mixer(self.norm(residual)), residual


def join(drop_path: nn.Module, hidden: Tensor, residual: Tensor | None) -> Tensor:
    """The stream with what a block gave."""
    hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
    return hidden if residual is None else residual + drop_path(hidden)


@MODELS.register_module(role="image_backbone")
class VisionMamba(nn.Module):
    """Maps of one stride, of pictures of any size that holds a patch; positions are resized as need be.

    Args:
        variant: "tiny", "tiny_plus", "small" or "base": width and stride.
        width: instead of the variant's.
        depth: blocks.
        state: numbers that a channel of a scan carries on.
        patch: side of a patch.
        stride: between patches; None is the variant's, which is 16, or 8 of "tiny_plus".
        position: rows and columns of patches that positions are learned for; None is those of 224 x 224 pixels.
        drop_path: probability of leaving a block out, of the last; it rises linearly.
        out_indices: blocks behind which maps are given, in ascending order; None is the last. There are no blocks
            behind the last of them.
        legacy_pos_resize: see `resized_positions`.

    Raises:
        ValueError: the variant is unknown, or ``out_indices`` are no ascending blocks.
    """

    def __init__(
        self, variant: str = "tiny", *, width: int | None = None, depth: int = 24, state: int = 16, patch: int = PATCH,
        stride: int | None = None, position: Sequence[int] | None = None, drop_path: float = 0.0,
        out_indices: Sequence[int] | None = None, legacy_pos_resize: bool = False,
    ) -> None:
        super().__init__()
        own_width, own_stride = variant_of(VARIANTS, variant)
        width, stride = own_width if width is None else width, own_stride if stride is None else stride
        side = (TRAINED_SIDE - patch) // stride + 1
        rows, columns = (side, side) if position is None else position
        self.position, self.patch, self.legacy_pos_resize = (rows, columns), patch, legacy_pos_resize
        self.out_indices = checked_indices((depth - 1,) if out_indices is None else out_indices, depth, "blocks")
        self.embed = nn.Conv2d(3, width, patch, stride=stride)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_table = nn.Parameter(torch.zeros(1, rows * columns + 1, width))
        rates = [0.0, *torch.linspace(0, drop_path, depth, device="cpu").tolist()]         # of what comes before
        self.blocks = nn.ModuleList(
            VimBlock(width, state=state, drop_path=rate) for rate in rates[: self.out_indices[-1] + 1]
        )
        self.out_drops = nn.ModuleList(DropPath(rates[index + 1]) for index in self.out_indices)
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.channels, self.strides = (width,) * len(self.out_indices), (stride,) * len(self.out_indices)
        self.depth = depth
        self.init_weights()

    def init_weights(self) -> None:
        """Tokens and positions truncated normal, patches LeCun normal, last layers of mixers less the deeper it is."""
        trunc_normal_(self.class_token, std=0.02)
        trunc_normal_(self.position_table, std=0.02)
        lecun_normal_(self.embed.weight)
        for name, parameter in self.named_parameters():
            if name == "embed.bias":
                nn.init.zeros_(parameter)
            if name.endswith("mixer.out_proj.weight"):         # kaiming-uniform of torch, over the root of the depth
                nn.init.kaiming_uniform_(parameter, a=(6 * self.depth - 1) ** 0.5)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, C, h, w); h is (H - patch) // stride + 1, and w likewise.

        Raises:
            ValueError: the pictures are not (B, 3, H, W), or smaller than a patch.
        """
        found, size = self.tokens(images)
        return tuple(map_of(without_middle(tokens), size) for tokens in found)

    def tokens(self, images: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """The normed tokens of each map (B, M + 1, C), float32, the class token at M // 2, and the map's h, w.

        Raises:
            ValueError: as `forward`.
        """
        check_images(images, least=self.patch)
        x = self.embed(images)
        size = (x.shape[2], x.shape[3])
        table = resized_positions(self.position_table, self.position, size, legacy=self.legacy_pos_resize)
        hidden, residual = insert_middle(x.flatten(2).transpose(1, 2), self.class_token) + table, None
        found, drops = [], iter(self.out_drops)
        for index, block in enumerate(self.blocks):
            hidden, residual = block(hidden, residual)
            if index in self.out_indices:
                found.append(self.norm(join(next(drops), hidden, residual)))
        return found, size
