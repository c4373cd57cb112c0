"""MatLM: a decoder of text with nested feed-forward nets, in the form of the releases (RAIVNLab/MatFormer-OLMo).

"MatFormer: Nested Transformer for Elastic Inference" (Devvrit et al., NeurIPS 2024), section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.backbone_arguments import variant_of
from perception.models.metaformer.block import MetaFormerBlock, run_blocks
from perception.registry import MODELS

from .elastic import Widths, active_widths, extract
from .nested import NestedFeedForward

VARIANTS: dict[str, tuple[int, int, int]] = {            # layers, width, heads, by the names of the releases
    "180M": (8, 512, 16), "460M": (8, 1024, 16), "1300M": (8, 2048, 16),
}
STD = 0.02


@MODELS.register_module()
class MatLM(nn.Module):
    """Embedding, pre-norm causal blocks, a norm, and logits by the same embedding.

    Args:
        variant: "180M", "460M" or "1300M". The names are those of the releases and agree with no count of parameters;
            the sizes are those of the published commands. A checkpoint's own config.yaml has the last word.
        vocab: rows V of the embedding; the releases pad theirs.
        depth, width, heads: instead of the variant's.
        ratio: hidden over outer width.
        widths: numbers of hidden units that are trained, see `NestedFeedForward`.
        multi_query: keys and values have one head.
        position: "alibi", "rotary", or "learned", one for each of ``max_length`` places.
        alibi_max: see `OlmoAttention`.
        max_length: tokens of a sequence with learned positions.
        activation: of the feed-forward nets, see `NestedFeedForward`.

    Raises:
        ValueError: the variant is unknown, or as `OlmoAttention` and `NestedFeedForward` do.
    """

    def __init__(
        self, variant: str = "180M", *, vocab: int = 50304, depth: int | None = None, width: int | None = None,
        heads: int | None = None, ratio: float = 8.0, widths: Sequence[int] | None = None, multi_query: bool = True,
        position: str = "alibi", alibi_max: float = 8.0, max_length: int = 2048, activation: str = "gelu",
    ) -> None:
        super().__init__()
        depth, width, heads = (
            own if other is None else other
            for own, other in zip(variant_of(VARIANTS, variant), (depth, width, heads), strict=True)
        )
        self.embed = nn.Embedding(vocab, width)
        self.places = nn.Embedding(max_length, width) if position == "learned" else None
        attention = {
            "type": "OlmoAttention", "heads": heads, "multi_query": multi_query, "alibi_max": alibi_max,
            "position": None if position == "learned" else position,
        }
        feed_forward = {"type": "NestedFeedForward", "ratio": ratio, "widths": widths, "activation": activation}
        self.blocks = nn.ModuleList(MetaFormerBlock(width, attention, feed_forward) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.init_weights()

    def init_weights(self) -> None:
        """Normal of 0.02, behind a feed-forward net that over sqrt(2 * layers); biases 0."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, NestedFeedForward):
                nn.init.normal_(module.fc2.weight, std=STD / math.sqrt(2 * len(self.blocks)))

    def forward(self, ids: Tensor, ffn_dims: Widths = None) -> Tensor:
        """Tokens to logits of the next one.

        Args:
            ids: (B, T) int64.
            ffn_dims: hidden units, one number for all blocks or one for each; None uses as many as are active.

        Returns:
            (B, T, V).

        Raises:
            ValueError: as `checked_widths`.
        """
        tokens = self.embed(ids)                                                         # (B, T, C)
        if self.places is not None:
            tokens = tokens + self.places(torch.arange(ids.shape[1], device=ids.device))
        with active_widths(self, ffn_dims):
            tokens = run_blocks(self.blocks, tokens, None)
        return F.linear(self.norm(tokens), self.embed.weight)

    def loss(self, ids: Tensor, ffn_dims: Widths = None) -> Tensor:
        """Mean cross entropy [nats] of the tokens 1 to T - 1 given those before; the softmax is over all V rows."""
        logits = self(ids, ffn_dims)[:, :-1].float()
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    def extract(self, ffn_dims: int | Sequence[int]) -> nn.Module:
        """A model of plain blocks with the same logits; see `perception_plugins.matformer.extract`."""
        return extract(self, ffn_dims)
