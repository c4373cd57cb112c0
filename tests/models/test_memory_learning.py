"""What a memory is for: the velocity of what is seen, which one frame does not show."""

from __future__ import annotations

import torch
from moving_frames import REGION, SIZE, frame_at
from torch import Tensor, nn

from perception.models.temporal.temporal_memory import TemporalMemory
from perception.structures import Frame

STEPS, GAP_S, BATCH = 3, 0.5, 8


def passing_things(generator: torch.Generator) -> tuple[Tensor, list[Frame], Tensor, Tensor]:
    """Maps (T * B, 3, H, W) in which each cell tells the way to the one thing in sight, if that is near.

    Besides the frames of a vehicle that drives on, the velocities (B, 2) in m/s, and where (B, H, W) in the last maps
    the thing is near.
    """
    column, row = torch.meshgrid(torch.arange(SIZE[1]), torch.arange(SIZE[0]), indexing="xy")
    xy = torch.stack([column + REGION[0] + 0.5, row + REGION[1] + 0.5], dim=-1)             # (H, W, 2), ego frame
    velocity = 6 * torch.rand(BATCH, 2, generator=generator) - 3
    place, speed = 4 * torch.rand(BATCH, 2, generator=generator) - 2, 2 + 3 * torch.rand(BATCH, generator=generator)
    seen, frames, near = [], [], xy.new_zeros(BATCH, *SIZE, dtype=torch.bool)
    for time in (GAP_S * (step - STEPS + 1) for step in range(STEPS)):                      # it ends at 0
        ego = torch.stack([speed * time, torch.zeros(BATCH)], dim=1)
        way = (place + velocity * time - ego)[:, None, None] - xy                           # (B, H, W, 2)
        near = way.norm(dim=-1) < 4.0
        seen.append(torch.cat([way / 4, torch.ones(BATCH, *SIZE, 1)], dim=3).permute(0, 3, 1, 2) * near[:, None])
        frames += [frame_at(time, float(x), scene=str(number)) for number, x in enumerate(ego[:, 0])]
    return torch.cat(seen), frames, velocity, near


def error_after_training(steps: int) -> float:
    """Mean error [m/s] of the velocity at cells near the thing, of maps that the last ``steps`` frames went into."""
    torch.manual_seed(0)
    draw = torch.Generator().manual_seed(0)
    memory = TemporalMemory(3, {"type": "RecurrentMixer"}, REGION, width=24, kernel=1)
    head = nn.Conv2d(3, 2, 1)
    optimizer = torch.optim.Adam([*memory.parameters(), *head.parameters()], lr=1e-2)
    errors = []
    for _ in range(150):
        bev, frames, velocity, near = passing_things(draw)
        first = (STEPS - steps) * BATCH
        fused, _ = memory(bev[first:], frames[first:], steps=steps)
        found = head(fused[-BATCH:]).permute(0, 2, 3, 1)[near]                       # (P, 2)
        error = (found - velocity[:, None, None].expand(*near.shape, 2)[near]).norm(dim=1).mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    return sum(errors[-20:]) / 20


def test_a_memory_tells_velocities_that_one_frame_does_not_show():
    assert error_after_training(STEPS) < 0.5 * error_after_training(1)
