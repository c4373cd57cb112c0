"""A small vision transformer with the module names of the published checkpoints, which their activations go by."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-12


def _holder(**parts: nn.Module) -> nn.Module:
    module = nn.Module()
    for name, part in parts.items():
        module.add_module(name, part)
    return module


class Patches(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.projection(pixels).flatten(2).transpose(1, 2)


class Embeddings(nn.Module):
    def __init__(self, width: int, patch: int, image: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, (image // patch) ** 2 + 1, width))
        self.patch_embeddings = Patches(width, patch)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = torch.cat([self.cls_token.expand(len(pixels), -1, -1), self.patch_embeddings(pixels)], dim=1)
        return tokens + self.position_embeddings


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        parts = (part(x) for part in (self.query, self.key, self.value))
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.output = _holder(dense=nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.output.dense(self.attention(x))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layernorm_before, self.layernorm_after = nn.LayerNorm(width, EPS), nn.LayerNorm(width, EPS)
        self.attention = Attention(width, heads)
        self.intermediate = _holder(dense=nn.Linear(width, hidden))
        self.output = _holder(dense=nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.layernorm_before(x))
        return x + self.output.dense(F.gelu(self.intermediate.dense(self.layernorm_after(x))))


class NamedViT(nn.Module):
    """Pictures (B, 3, H, W) -> logits (B, K).

    Args:
        shape: width, heads, hidden width, layers.
        patch, image: sides [pixels].
        classes: K.
    """

    def __init__(self, shape: tuple[int, int, int, int], patch: int, image: int, classes: int) -> None:
        super().__init__()
        width, heads, hidden, depth = shape
        layers = nn.ModuleList(Layer(width, heads, hidden) for _ in range(depth))
        self.vit = _holder(
            embeddings=Embeddings(width, patch, image), encoder=_holder(layer=layers),
            layernorm=nn.LayerNorm(width, EPS),
        )
        self.classifier = nn.Linear(width, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.vit.embeddings(pixels)
        for layer in self.vit.encoder.layer:
            x = layer(x)
        return self.classifier(self.vit.layernorm(x)[:, 0])
