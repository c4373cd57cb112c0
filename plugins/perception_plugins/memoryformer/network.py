"""MemoryFormer as a language model and as a column of blocks over a picture's patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from perception.models.backbone_arguments import variant_of
from perception.models.metaformer.block import MetaFormerBlock, run_blocks
from perception.models.metaformer.columnar import ColumnarFormer
from perception.registry import MODELS

from .hashing import Weighting
from .layer import TABLE_STD
from .mixers import Expansion, Projection
from .norm import MemoryRMSNorm

NORM: dict[str, Any] = {"type": "MemoryRMSNorm"}
VARIANTS: dict[str, tuple[int, int, int, int, int]] = {      # blocks, width, heads; tables and bits of a layer
    "tiny": (6, 512, 8, 64, 8),
    "small": (12, 768, 8, 96, 8),                    # blocks as Pythia-160M has; the authors' file says 6
    "base": (24, 1024, 16, 128, 8),                  # as Pythia-410M; there is no file of the authors
}


def memory_block(
    channels: int, *, attention: Mapping[str, Any], feed_forward: Mapping[str, Any], norm: Mapping[str, Any] = NORM
) -> MetaFormerBlock:
    """One block: attention, then the feed-forward part, each behind a norm and beside a shortcut.

    Args:
        channels: width C.
        attention: arguments of a `MemoryAttentionMixer`.
        feed_forward: of a `MemoryFeedForward`.
        norm: config of both norms.
    """
    mixers = {"type": "MemoryAttentionMixer", **attention}, {"type": "MemoryFeedForward", **feed_forward}
    return MetaFormerBlock(channels, *mixers, norm=norm)


@MODELS.register_module()
class MemoryFormerLM(nn.Module):
    """Embedding, causal blocks, a norm, and logits by a matrix of their own.

    Args:
        variant: "tiny", "small" or "base"; the last two have sizes of the paper's baselines where the authors' files
            are at odds or missing.
        vocab: rows V of the embedding.
        depth, width, heads, tables, bits: instead of the variant's.
        rotary_pct, rotary_base, projection: see `MemoryAttentionMixer`.
        expand, weighting, temperature: see `MemoryFeedForward`.

    Raises:
        ValueError: the variant is unknown, or as the mixers.
    """

    def __init__(
        self, variant: str = "tiny", *, vocab: int = 50304, depth: int | None = None, width: int | None = None,
        heads: int | None = None, tables: int | None = None, bits: int | None = None, rotary_pct: float = 0.25,
        rotary_base: float = 10000.0, projection: Projection = "none", expand: Expansion = "extra_bit",
        weighting: Weighting = "released", temperature: float = 1.0,
    ) -> None:
        super().__init__()
        depth, width, heads, tables, bits = chosen_sizes(variant, depth, width, heads, tables, bits)
        both = {"tables": tables, "bits": bits, "weighting": weighting, "temperature": temperature}
        self.embed = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(
            memory_block(
                width,
                attention={
                    **both, "heads": heads, "causal": True, "rotary_pct": rotary_pct, "rotary_base": rotary_base,
                    "projection": projection,
                },
                feed_forward={**both, "expand": expand, "projection": projection != "none"},
            )
            for _ in range(depth)
        )
        self.norm = MemoryRMSNorm(width)
        self.head = nn.Linear(width, vocab, bias=False)
        for matrix in (self.embed.weight, self.head.weight):
            nn.init.normal_(matrix, std=TABLE_STD)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) int64 -> logits of the next token, (B, T, V)."""
        return self.head(self.norm(run_blocks(self.blocks, self.embed(ids), None)))


@MODELS.register_module(role="image_backbone")
class MemoryFormer(ColumnarFormer):
    """Blocks over the patches of a picture; maps of stride 16. The authors have no picture form: this one is ours.

    Args:
        variant: "tiny", "small" or "base".
        depth, width, heads, tables, bits: instead of the variant's.
        patch: side of a patch.
        position: height and width of the map of tokens that positions are learned for; resized for other maps.
        expand, weighting, temperature: see `MemoryFeedForward`.
        options: further arguments of a `ColumnarFormer`.

    Raises:
        ValueError: the variant is unknown, or as `ColumnarFormer` and the mixers.
    """

    def __init__(
        self, variant: str = "tiny", *, depth: int | None = None, width: int | None = None, heads: int | None = None,
        tables: int | None = None, bits: int | None = None, patch: int = 16, position: Sequence[int] = (14, 14),
        expand: Expansion = "extra_bit", weighting: Weighting = "released", temperature: float = 1.0, **options: Any,
    ) -> None:
        depth, width, heads, tables, bits = chosen_sizes(variant, depth, width, heads, tables, bits)
        both = {"tables": tables, "bits": bits, "weighting": weighting, "temperature": temperature}
        super().__init__(
            depth,
            width,
            token_mixer={"type": "MemoryAttentionMixer", "heads": heads, **both},
            channel_mixer={"type": "MemoryFeedForward", "expand": expand, **both},
            norm=NORM,
            stem={"type": "PatchEmbedding", "kernel": patch, "stride": patch, "padding": 0},
            position=position,
            **options,
        )


def chosen_sizes(
    variant: str, depth: int | None, width: int | None, heads: int | None, tables: int | None, bits: int | None
) -> tuple[int, int, int, int, int]:
    """The variant's blocks, width, heads, tables and bits where no other is given; tables read all of another width."""
    own_depth, own_width, own_heads, own_tables, own_bits = variant_of(VARIANTS, variant)
    width, bits = own_width if width is None else width, own_bits if bits is None else bits
    if tables is None:
        tables = own_tables if (width, bits) == (own_width, own_bits) else -(-width // max(bits, 1))
    return own_depth if depth is None else depth, width, own_heads if heads is None else heads, tables, bits
