"""FIT as the denoiser of a diffusion model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.mixers.feed_forward import FeedForward

from .encoder import stem
from .layer import NORM_EPS, init_glorot
from .position import Kind, latent_positions, token_positions, wave_code
from .trunk import FITTrunk


class LatentMemory(nn.Module):
    """What the latents of the step before add to those that a step begins with; nothing before it has learned.

    Args:
        channels: width D.
        mlp_ratio: hidden over outer width.
    """

    def __init__(self, channels: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(channels, eps=NORM_EPS), FeedForward(channels, ratio=mlp_ratio)
        self.out_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        nn.init.zeros_(self.out_norm.weight)

    def forward(self, latents: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.out_norm(latents + self.mlp(self.norm(latents)))


class FITDenoiser(nn.Module):
    """Noisy tokens in groups, a time and a condition -> what is to be predicted of each token.

    Args:
        layers: see `parse_layers`.
        in_channels, out_channels: of the tokens.
        condition_channels: of the condition.
        groups, tokens, latents: t, and n and m of a group.
        channels, latent_channels: widths C and D; D is divisible by 8.
        heads, latent_heads: attention heads.
        position, latent_position: see `FITEncoder`.
        remembers: latents of the step before can be given ("self-conditioning" on latents).
        mlp_ratio: hidden over outer width of the feed-forward nets.
        options: ``reading_mlp``, ``reading_norm``, ``self_attention``, ``causal_groups`` and ``drop_path`` of a
            `FITTrunk`.

    Raises:
        ValueError: as `FITTrunk` and the positions, or D is not divisible by 8.
    """

    def __init__(
        self, layers: str, *, in_channels: int, out_channels: int, condition_channels: int, groups: int, tokens: int,
        latents: int, channels: int, latent_channels: int, heads: int, latent_heads: int, position: Kind = "learned",
        latent_position: Kind = "learned", remembers: bool = True, mlp_ratio: float = 4.0, **options: Any,
    ) -> None:
        super().__init__()
        C, D = channels, latent_channels
        if D % 8:
            raise ValueError(f"latent_channels must be divisible by 8, got {D}")
        self.shape = (groups, latents)
        self.stem = stem(in_channels, C)
        self.position = token_positions(position, tokens, C)
        self.latent_position = latent_positions(latent_position, groups, latents, D)
        self.time = nn.Sequential(nn.Linear(D // 4, D), nn.SiLU(), nn.Linear(D, D))
        self.condition = nn.Linear(condition_channels, D)
        self.trunk = FITTrunk(
            layers, C, D, heads, latent_heads, mlp_ratio=mlp_ratio, conditioned=True, **options
        )
        self.norm, self.head = nn.LayerNorm(C, eps=NORM_EPS), nn.Linear(C, out_channels)
        init_glorot(self)
        self.memory = LatentMemory(D, mlp_ratio) if remembers else None

    def forward(
        self, x: Tensor, time: Tensor, condition: Tensor, latents: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            x: (B, t, n, C_in).
            time: (B,) in [0, 1].
            condition: (B, s, C_cond), or (B, C_cond).
            latents: (B, t, m, D) of the step before.

        Returns:
            (B, t, n, C_out), and latents (B, t, m, D) for the next step.

        Raises:
            ValueError: latents are given to a network that does not remember.
        """
        own = self.latent_position().unflatten(0, self.shape).expand(len(x), -1, -1, -1)
        if latents is not None:
            if self.memory is None:
                raise ValueError("latents of the step before need a network that remembers, got them without")
            own = own + self.memory(latents)
        condition = condition[:, None] if condition.dim() == 2 else condition
        moment = self.time(time_code(time, own.shape[-1] // 4))[:, None]                   # (B, 1, D)
        further = torch.cat([moment, self.condition(condition)], dim=1)                    # (B, 1 + s, D)
        tokens, own = self.trunk(self.stem(x) + self.position(), own, condition=further)
        return self.head(self.norm(tokens)), own


def time_code(time: Tensor, channels: int) -> Tensor:
    """Times (B,) in [0, 1] -> (B, channels), each row of mean 0 and standard deviation 1."""
    code = wave_code(1000.0 * time, channels)
    return F.layer_norm(code, (channels,), eps=0.0).to(time.dtype)
