"""The encoder that AxFormer was published with, post-norm, of layers that can be pruned as any of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.pruning.layers import Heads, Hidden, PrunableLayer, prunes
from perception.models.attention.top_k import keep_largest
from perception.models.key_map import rename_keys

RENAMES = (
    (r"bert\.embeddings\.(word|position|token_type)_embeddings\.weight", r"\1.weight"),
    (r"bert\.embeddings\.LayerNorm\.(\w+)", r"norm.\1"),
    (r"bert\.encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)\.(\w+)", r"layers.\1.attention.\2.\3"),
    (r"bert\.encoder\.layer\.(\d+)\.attention\.output\.dense\.(\w+)", r"layers.\1.attention.dense.\2"),
    (r"bert\.encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.(\w+)", r"layers.\1.norm1.\2"),
    (r"bert\.encoder\.layer\.(\d+)\.intermediate\.dense\.(\w+)", r"layers.\1.ffn.inner.\2"),
    (r"bert\.encoder\.layer\.(\d+)\.output\.dense\.(\w+)", r"layers.\1.ffn.outer.\2"),
    (r"bert\.encoder\.layer\.(\d+)\.output\.LayerNorm\.(\w+)", r"layers.\1.norm2.\2"),
    (r"bert\.pooler\.dense\.(\w+)", r"pooler.\1"),
    (r"classifier\.(\w+)", r"classifier.\1"),
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return rename_keys(state, RENAMES)


class BertAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.top_k = heads, None
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dense = nn.Linear(width, width)

    def forward(self, x: Tensor, size: Any = None, mask: Tensor | None = None) -> Tensor:
        parts = (part(x) for part in (self.query, self.key, self.value))
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
        weights = (scores if mask is None else scores + (1 - mask[:, None, None].to(x)) * -10000).softmax(dim=3)
        if self.top_k is not None:
            weights = keep_largest(weights, self.top_k)
        return self.dense((weights @ v).transpose(1, 2).flatten(2))


class BertFeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor, size: Any = None, mask: Any = None) -> Tensor:
        return self.outer(F.gelu(self.inner(x)))


class BertLayer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.attention, self.norm1 = BertAttention(width, heads), nn.LayerNorm(width, eps)
        self.ffn, self.norm2 = BertFeedForward(width, hidden), nn.LayerNorm(width, eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(self.attention(x, None, mask) + x)
        return self.norm2(self.ffn(x) + x)


@prunes(BertLayer)
def _layer(layer: BertLayer) -> PrunableLayer:
    attention, ffn = layer.attention, layer.ffn
    heads = None
    if isinstance(attention, BertAttention):
        projections = tuple((part, 1) for part in (attention.query, attention.key, attention.value))
        heads = Heads(attention, "heads", projections, attention.dense)
    return PrunableLayer(layer, "attention", "ffn", heads, Hidden(ffn.inner, ffn.outer))


class Bert(nn.Module):
    """Ids (B, S) and their mask to logits, built from the config of a golden file."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, eps = config["heads"] * config["head_dim"], config["layer_norm_eps"]
        self.word, self.position = nn.Embedding(config["vocab"], width), nn.Embedding(config["seq_len"], width)
        self.token_type, self.norm = nn.Embedding(2, width), nn.LayerNorm(width, eps)
        hidden = config["ffn_groups"] * config["group"]
        self.layers = nn.ModuleList(BertLayer(width, config["heads"], hidden, eps) for _ in range(config["layers"]))
        self.pooler, self.classifier = nn.Linear(width, width), nn.Linear(width, config["num_labels"])

    def hidden(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        """The embedding, then what each layer gives, (B, S, C) each."""
        places = torch.arange(ids.shape[1])
        found = [self.norm(self.word(ids) + self.position(places) + self.token_type(torch.zeros_like(ids)))]
        for layer in self.layers:
            found.append(layer(found[-1], mask))
        return found

    def head(self, hidden: Tensor) -> Tensor:
        return self.classifier(self.pooler(hidden[:, 0]).tanh())

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.hidden(ids, mask)[-1])
