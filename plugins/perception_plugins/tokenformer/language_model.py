"""TokenFormer as the language model of the releases."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.attention.cache import KeyValueCache
from perception.models.backbone_arguments import variant_of
from perception.models.metaformer.block import MetaFormerBlock, run_blocks
from perception.registry import MODELS

from .layer import extend_layer, tokenformer_layer
from .pattention import KEY_STD

VARIANTS: dict[str, tuple[int, int, int, int, int, int]] = {  # layers, width, heads; rows: qkv, proj, feed-forward
    "150M": (12, 768, 12, 768, 768, 3072),
    "450M": (24, 1024, 16, 1024, 1024, 4096),
    "900M": (32, 1280, 16, 1280, 1280, 5120),
    "1.5B": (40, 1536, 16, 1536, 1536, 6144),
    "354M": (24, 1024, 16, 768, 768, 3072),              # from which the next one was grown
    "757M": (24, 1024, 16, 1792, 1792, 7168),
}


@MODELS.register_module()
class TokenFormerLM(nn.Module):
    """Embedding, causal layers, a norm, and logits by the same embedding.

    Args:
        variant: "150M", "450M", "900M", "1.5B", "354M" or "757M".
        vocab: rows V of the embedding; the releases pad GPT-NeoX-20B's tokens to a multiple of 128.
        depth, width, heads, qkv_slots, proj_slots, ffn_slots: instead of the variant's.
        slot_factor: times as many rows of all tables, rounded: see `grow_config`.
        rotary_pct, rotary_base: see `PattentionMixer`.
        activation: of the tables, see `Pattention`.
        norm_eps: added to the variance in every norm.

    Raises:
        ValueError: the variant is unknown, or as `PattentionMixer`.
    """

    def __init__(
        self, variant: str = "150M", *, vocab: int = 50304, depth: int | None = None, width: int | None = None,
        heads: int | None = None, qkv_slots: int | None = None, proj_slots: int | None = None,
        ffn_slots: int | None = None, slot_factor: float = 1.0, rotary_pct: float = 0.25, rotary_base: float = 10000.0,
        activation: str = "l2_norm_gelu", norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        given = (depth, width, heads, qkv_slots, proj_slots, ffn_slots)
        depth, width, heads, qkv, proj, ffn = (
            own if other is None else other for own, other in zip(variant_of(VARIANTS, variant), given, strict=True)
        )
        self.embed = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(
            tokenformer_layer(
                width, qkv_slots=qkv, proj_slots=proj, ffn_slots=ffn, norm_eps=norm_eps, heads=heads, causal=True,
                rotary_pct=rotary_pct, rotary_base=rotary_base,
                tables={"slot_factor": slot_factor, "activation": activation, "layers": depth},
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        nn.init.normal_(self.embed.weight, std=KEY_STD)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) int64 -> logits of the next token, (B, T, V)."""
        return self.logits(self.hidden(ids))

    def hidden(self, ids: Tensor) -> Tensor:
        """(B, T) int64 -> what the logits are made of, (B, T, C), behind the last norm."""
        return self.norm(run_blocks(self.blocks, self.embed(ids), None))

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., C) -> (..., V)."""
        return F.linear(hidden, self.embed.weight)

    def loss(self, ids: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        """Cross entropy of a token, mean of those that count.

        Args:
            ids: (B, T) int64.
            labels: (B, T) int64, the token behind each.
            mask: (B, T), 1 where a token counts; None counts all.
        """
        each = F.cross_entropy(self(ids).float().flatten(0, 1), labels.flatten(), reduction="none")    # (B * T,)
        return each.mean() if mask is None else (each * mask.flatten()).sum() / mask.sum()

    def extend(
        self, ids: Tensor, caches: Sequence[KeyValueCache | None] | None = None
    ) -> tuple[Tensor, list[KeyValueCache]]:
        """The logits (B, T, V) of the next tokens (B, T) of a sequence, and a cache a layer; None begins one."""
        tokens, found = self.embed(ids), []
        for block, cache in zip(self.blocks, caches or [None] * len(self.blocks), strict=True):
            assert isinstance(block, MetaFormerBlock)
            tokens, cache = extend_layer(block, tokens, cache)
            found.append(cache)
        return self.logits(self.norm(tokens)), found
