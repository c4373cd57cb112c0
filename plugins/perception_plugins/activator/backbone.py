"""Networks of gating units: the published bag of patches, and one of ours whose tokens see each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from perception.models.backbone_arguments import check_images
from perception.models.metaformer.block import run_blocks
from perception.models.metaformer.patch_embedding import PatchEmbedding
from perception.models.metaformer.staged import MetaFormer
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS

from .block import ActivatorBlock

MIXER: dict[str, Any] = {"type": "DepthwiseConvMixer", "kernel": 3}


@MODELS.register_module(role="image_backbone")
class Activator(nn.Module):
    """Patches and blocks that treat each by itself: a bag of patches, with no positions and no norm at the end.

    What a place of the map tells depends on the pixels of its patch alone; for dense tasks see `ActivatorMetaFormer`.
    The published classifier is a `BackboneClassifier` around it.

    Args:
        depth: number of blocks.
        width: channels C.
        hidden: hidden width F of a block.
        patch: side of a patch, which is the stride.
        ffn: blocks have a feed-forward net.
        dropout: in the feed-forward nets, 0.5 in the published recipe.
        activation: see `ActivatorGLU`.
        in_channels: of the pictures.
        checkpointing: in training, run blocks again for the gradient instead of keeping what they computed.
    """

    def __init__(
        self, depth: int = 4, width: int = 256, *, hidden: int = 512, patch: int = 4, ffn: bool = True,
        dropout: float = 0.5, activation: str = "gelu", in_channels: int = 3, checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.checkpointing = in_channels, checkpointing
        self.embed = PatchEmbedding(in_channels, width, kernel=patch, stride=patch, padding=0)
        self.blocks = nn.ModuleList(
            ActivatorBlock(width, hidden, ffn=ffn, dropout=dropout, activation=activation) for _ in range(depth)
        )
        self.channels, self.strides = (width,), (patch,)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(B, in_channels, H, W) -> one map (B, C, H / s, W / s), rounded down.

        Raises:
            ValueError: the pictures have other channels, or are smaller than a patch.
        """
        check_images(images, channels=self.in_channels, least=self.strides[0])
        x = self.embed(images)
        size = (x.shape[2], x.shape[3])
        checkpointing = self.checkpointing and self.training
        tokens = run_blocks(self.blocks, tokens_of(x).contiguous(), size, checkpointing=checkpointing)
        return (map_of(tokens, size),)


@MODELS.register_module(role="image_backbone")
class ActivatorMetaFormer(MetaFormer):
    """Stages whose blocks mix tokens first and channels by a gating unit then: our composition, not the paper's.

    Args:
        depths: blocks of each stage.
        widths: channels of each stage.
        token_mixer: config of the token mixers, one for all stages or one for each.
        ratio: hidden over outer width of the gating units.
        activation: see `ActivatorGLU`.
        norm: see `token_norm`.
        options: further arguments of a `MetaFormer`.
    """

    def __init__(
        self, depths: Sequence[int] = (2, 2, 6, 2), widths: Sequence[int] = (64, 128, 320, 512), *,
        token_mixer: Mapping[str, Any] | Sequence[Mapping[str, Any]] = MIXER, ratio: float = 2.0,
        activation: str = "gelu", norm: str | Mapping[str, Any] = "layer", **options: Any,
    ) -> None:
        super().__init__(
            depths,
            widths,
            token_mixer=token_mixer,
            channel_mixer={"type": "ActivatorGLU", "ratio": ratio, "activation": activation},
            norm=norm,
            **options,
        )
