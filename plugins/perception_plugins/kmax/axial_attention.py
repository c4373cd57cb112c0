"""Attention along the columns, then along the rows of a map, with learned codes of relative positions.

"Axial-DeepLab: Stand-Alone Axial-Attention for Panoptic Segmentation" (Wang et al., ECCV 2020), section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .conv_norm import batch_norm, truncated_normal

MAX_LENGTH = 255
NUM_OFFSETS = 2 * MAX_LENGTH - 1


class AxialAttention(nn.Module):
    """Position-sensitive self-attention over sequences (equation 4), each of its three terms normalised by batch.

    Args:
        in_channels: width C of the input.
        key_channels: width of queries and keys of all heads together.
        value_channels: width of the values of all heads together.
        heads: attention heads.

    Raises:
        ValueError: a width is no multiple of ``heads``.
    """

    def __init__(self, in_channels: int, key_channels: int, value_channels: int, heads: int = 8) -> None:
        super().__init__()
        for name, width in (("key_channels", key_channels), ("value_channels", value_channels)):
            if width % heads:
                raise ValueError(f"{name} ({width}) must be divisible by heads ({heads})")
        self.heads, self.widths = heads, (key_channels, key_channels, value_channels)
        self.qkv = nn.Conv1d(in_channels, sum(self.widths), 1, bias=False)
        self.norm_qkv = batch_norm(sum(self.widths), dims=1)
        self.query_table = nn.Parameter(torch.empty(NUM_OFFSETS, key_channels // heads))
        self.key_table = nn.Parameter(torch.empty(NUM_OFFSETS, key_channels // heads))
        self.value_table = nn.Parameter(torch.empty(NUM_OFFSETS, value_channels // heads))
        self.norm_similarity = batch_norm(3 * heads)
        self.norm_retrieved = batch_norm(2 * value_channels, dims=1)
        truncated_normal(self.qkv.weight, in_channels**-0.5)
        for table in (self.query_table, self.key_table, self.value_table):
            truncated_normal(table, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(S, C, L) -> (S, value_channels, L) for S sequences of L places, at most 255.

        Raises:
            ValueError: a sequence is longer than the tables reach.
        """
        L = x.shape[2]
        if L > MAX_LENGTH:
            raise ValueError(f"axial attention reaches over at most {MAX_LENGTH} places a side, got {L}")
        parts = self.norm_qkv(self.qkv(x)).split(self.widths, dim=1)
        q, k, v = (part.unflatten(1, (self.heads, -1)) for part in parts)                  # (S, heads, D, L) each
        place = torch.arange(L, device=x.device)
        offset = place - place[:, None] + MAX_LENGTH - 1                                   # (L, L): key less query
        similarity = torch.cat([
            torch.einsum("shdl,shdm->shlm", q, k),
            torch.einsum("shdl,lmd->shlm", q, F.embedding(offset, self.query_table)),
            torch.einsum("shdm,lmd->shlm", k, F.embedding(offset, self.key_table)),
        ], dim=1)                                                                          # (S, 3 * heads, L, L)
        logits = self.norm_similarity(similarity).unflatten(1, (3, self.heads)).sum(dim=1)
        weights = logits.softmax(dim=3, dtype=torch.float32).to(v.dtype)                   # (S, heads, L, L)
        retrieved = torch.cat([
            torch.einsum("shlm,shdm->shdl", weights, v),
            torch.einsum("shlm,lmd->shdl", weights, F.embedding(offset, self.value_table)),
        ], dim=1).flatten(1, 2)                                                            # (S, 2 * value_channels, L)
        return self.norm_retrieved(retrieved).unflatten(1, (2, -1)).sum(dim=1)


class AxialAttention2d(nn.Module):
    """Attention along each column of a map, then along each row.

    Args:
        in_channels: width of the input.
        key_channels: width of queries and keys of all heads together.
        value_channels: width of the output.
        heads: attention heads.
    """

    def __init__(self, in_channels: int, key_channels: int, value_channels: int, heads: int = 8) -> None:
        super().__init__()
        self.height = AxialAttention(in_channels, key_channels, value_channels, heads)
        self.width = AxialAttention(value_channels, key_channels, value_channels, heads)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, value_channels, H, W)."""
        B, _, H, W = x.shape
        columns = self.height(x.permute(0, 3, 1, 2).flatten(0, 1))                         # (B * W, C, H)
        rows = columns.view(B, W, -1, H).permute(0, 3, 2, 1).flatten(0, 1)                 # (B * H, C, W)
        return self.width(rows).view(B, H, -1, W).transpose(1, 2)
