"""Layers of the polyline generator, and what they keep: the projected map, and the tokens written so far.

The map's keys and values are made once an image and layer; all lines of an image read them in one attention, so nothing
is copied for a line. "ReZero is All You Need" (Bachlechner et al., UAI 2021) has the gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.attention.packed import PackedAttention

KeyValue = tuple[Tensor, Tensor]


class LineSlots:
    """Where each line stands when the lines are laid out image by image, in any order, with room to spare.

    Args:
        images: (L,) int64 number of the image of each line.
        num_images: images B.
    """

    def __init__(self, images: Tensor, num_images: int) -> None:
        self.images, self.num_images = images, num_images
        order = images.argsort(stable=True)
        counts = torch.bincount(images, minlength=num_images)                             # (B,)
        self.most = int(counts.max()) if len(images) else 0
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(images), device=images.device) - (counts.cumsum(0) - counts)[images[order]]
        self.slot = images * self.most + rank                                             # (L,)

    def pack(self, tokens: Tensor) -> Tensor:
        """(L, T, C) -> (B, most * T, C), zeros where an image has fewer lines than the others."""
        T, C = tokens.shape[1:]
        room = tokens.new_zeros(self.num_images * self.most, T, C)
        return room.index_copy(0, self.slot, tokens).view(self.num_images, self.most * T, C)

    def unpack(self, rows: Tensor, length: int) -> Tensor:
        """(B, most * T, C) -> (L, T, C)."""
        return rows.reshape(-1, length, rows.shape[2])[self.slot]


class TokenCache:
    """Keys and values of the tokens so far in every layer; room for all is taken at the beginning.

    Args:
        layers: number of layers.
        lines: lines L.
        tokens: greatest number of tokens of a line.
        like: (any, heads, any, D), whose width, type and device are taken over.
    """

    def __init__(self, layers: int, lines: int, tokens: int, like: Tensor) -> None:
        self.room = like.new_empty(layers, 2, lines, like.shape[1], tokens, like.shape[3])
        self.lines, self.length = lines, 0

    def append(self, layer: int, key: Tensor, value: Tensor) -> KeyValue:
        """Add (L, heads, T, D) keys and values of a layer; gives all of them, (L, heads, length + T, D) each."""
        room, end = self.room[layer, :, : self.lines], self.length + key.shape[2]
        room[0, :, :, self.length : end], room[1, :, :, self.length : end] = key, value
        return room[0, :, :, :end], room[1, :, :, :end]

    def advance(self, tokens: int) -> None:
        """Every layer has appended its ``tokens``."""
        self.length += tokens

    def keep(self, rows: Tensor) -> None:
        """Go on with some lines only, (L',) int64."""
        self.room[:, :, : len(rows), :, : self.length] = self.room[:, :, rows, :, : self.length]
        self.lines = len(rows)


class GeneratorLayer(nn.Module):
    """Self-attention within each line, attention to the map, feed-forward; each behind a gate that begins at 0.

    Args:
        channels: token width C.
        heads: attention heads.
        hidden: width of the feed-forward part.
        dropout: share dropped in training.
    """

    def __init__(self, channels: int, *, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.self_attn = PackedAttention(channels, heads=heads, dropout=dropout)
        self.norm2 = nn.LayerNorm(channels)
        self.cross_attn = PackedAttention(channels, heads=heads, dropout=dropout)
        self.norm3 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.gate1, self.gate2, self.gate3 = (nn.Parameter(torch.zeros(1)) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def attend_to_line(self, tokens: Tensor, mask: Tensor | None, cache: TokenCache | None, layer: int) -> Tensor:
        """(L, T, C) -> (L, T, C); with a cache the tokens before are seen too, and these are added to it."""
        q, k, v = self.self_attn.project(self.norm1(tokens))
        if cache is not None:
            k, v = cache.append(layer, k, v)
        if cache is not None and mask is None and not self.training:
            return tokens + self.gate1 * self.self_attn.decode(q, k, v)
        return tokens + self.gate1 * self.dropout(self.self_attn.mix(q, k, v, mask))

    def attend_to_map(self, tokens: Tensor, memory: KeyValue, slots: LineSlots) -> Tensor:
        """(L, T, C) -> (L, T, C), from keys and values (B, heads, S, D) of the images."""
        query = self.cross_attn.query(slots.pack(self.norm2(tokens)))
        mixed = slots.unpack(self.cross_attn.mix(query, *memory), tokens.shape[1])
        return tokens + self.gate2 * self.dropout(mixed)

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """(L, T, C) -> (L, T, C)."""
        hidden = self.dropout(F.relu(self.linear1(self.norm3(tokens))))
        return tokens + self.gate3 * self.dropout(self.linear2(hidden))


class GeneratorDecoder(nn.Module):
    """A stack of `GeneratorLayer`.

    Args:
        channels, heads, hidden, dropout: of each layer.
        layers: their number.

    Raises:
        ValueError: there is no layer.
    """

    def __init__(self, channels: int, *, heads: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers must be >= 1, got {layers}")
        self.layers = nn.ModuleList(
            GeneratorLayer(channels, heads=heads, hidden=hidden, dropout=dropout) for _ in range(layers)
        )

    def stack(self) -> list[GeneratorLayer]:
        """The layers, first to last."""
        return cast(list[GeneratorLayer], list(self.layers))

    def project(self, memory: Tensor) -> list[KeyValue]:
        """(B, S, C) -> keys and values of every layer, (B, heads, S, D) each."""
        pairs = (layer.cross_attn.key_value(memory) for layer in self.stack())
        return [(key.contiguous(), value.contiguous()) for key, value in pairs]        # read often: rows side by side

    def forward(
        self,
        tokens: Tensor,
        memory: Sequence[KeyValue],
        slots: LineSlots,
        mask: Tensor | None = None,
        cache: TokenCache | None = None,
    ) -> Tensor:
        """Run the stack.

        Args:
            tokens: (L, T, C).
            memory: keys and values of every layer from `project`.
            slots: the images of the lines.
            mask: bool, broadcast to (L, heads, T, keys), True where a token may see another; None lets it see all.
            cache: of the tokens before, which these are added to.

        Returns:
            (L, T, C).
        """
        if not len(tokens):
            return tokens
        for number, (layer, key_value) in enumerate(zip(self.stack(), memory, strict=True)):
            tokens = layer.attend_to_line(tokens, mask, cache, number)
            tokens = layer.feed_forward(layer.attend_to_map(tokens, key_value, slots))
        if cache is not None:
            cache.advance(tokens.shape[1])
        return tokens
