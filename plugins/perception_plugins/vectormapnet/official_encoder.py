"""Keys of the BEV encoder and neck in checkpoints of the authors' code."""

from __future__ import annotations

from perception.models.key_map import Rename

RENAMES: tuple[Rename, ...] = (
    (r"backbone\.(.+)", r"bev_encoder.\1"),
    (r"neck\.(.+)", r"neck.\1"),
)
DROPPED = (r"backbone\.masked_embeds\.weight",)      # a table that the release never reads
