"""A point cloud with named channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .se3 import SE3

XYZ = ("x", "y", "z")


@dataclass(frozen=True, eq=False)
class PointCloud:
    """N points: x, y, z [m] and further named channels.

    Known channels: ``intensity`` in [0, 1], ``ring`` (beam index), ``time`` (seconds before the frame's timestamp,
    >= 0), ``elongation``, ``semantic`` and ``instance`` (labels, whole numbers, exact in float32). Others are free.

    Args:
        data: (N, 3 + C) float32.
        channels: the 3 + C names; the first three are x, y, z.

    Raises:
        ValueError: shape, dtype and names do not fit together.
    """

    data: Tensor
    channels: tuple[str, ...] = XYZ

    def __post_init__(self) -> None:
        if self.data.ndim != 2 or self.data.dtype != torch.float32 or self.data.shape[1] != len(self.channels):
            raise ValueError(
                f"PointCloud takes float32 (N, {len(self.channels)}) for the channels {self.channels}, "
                f"got {self.data.dtype} {tuple(self.data.shape)}"
            )
        if tuple(self.channels[:3]) != XYZ or len(set(self.channels)) != len(self.channels):
            raise ValueError(f"channels must begin with x, y, z and be distinct, got {self.channels}")

    @classmethod
    def cat(cls, clouds: Sequence[PointCloud]) -> PointCloud:
        """Points of all clouds with the channels of the first; the others must have those too.

        Raises:
            ValueError: there is no cloud, or one lacks a channel of the first.
        """
        if not clouds:
            raise ValueError("PointCloud.cat takes at least one cloud: channels are those of the first")
        channels = clouds[0].channels
        return cls(torch.cat([cloud.select(channels) for cloud in clouds]), channels)

    def __len__(self) -> int:
        return self.data.shape[0]

    def __getitem__(self, index: slice | Tensor) -> PointCloud:
        return PointCloud(self.data[index], self.channels)

    @property
    def xyz(self) -> Tensor:
        """(N, 3) positions [m]."""
        return self.data[:, :3]

    def channel(self, name: str) -> Tensor:
        """(N,) values of one channel. Raises ValueError if the cloud has no such channel."""
        return self.select((name,))[:, 0]

    def select(self, names: Sequence[str]) -> Tensor:
        """(N, len(names)) columns in the order asked for. Raises ValueError that lists the known channels."""
        missing = [name for name in names if name not in self.channels]
        if missing:
            raise ValueError(f"the point cloud has no channel {missing[0]!r}; it has {', '.join(self.channels)}")
        if tuple(names) == self.channels:
            return self.data
        return self.data[:, [self.channels.index(name) for name in names]]

    def with_channel(self, name: str, values: Tensor | float) -> PointCloud:
        """With one more channel, or with its values replaced: (N,) or a constant."""
        values = torch.as_tensor(values, dtype=torch.float32, device=self.data.device)
        if values.ndim and values.shape != (len(self),):
            raise ValueError(f"channel {name!r} needs a constant or ({len(self)},) values, got {tuple(values.shape)}")
        column = values.expand(len(self))[:, None]
        if name in self.channels:
            data = self.data.clone()
            data[:, self.channels.index(name)] = column[:, 0]
            return PointCloud(data, self.channels)
        return PointCloud(torch.cat([self.data, column], dim=1), (*self.channels, name))

    def with_xyz(self, xyz: Tensor) -> PointCloud:
        """The same channels at other positions (N, 3)."""
        return PointCloud(torch.cat([xyz, self.data[:, 3:]], dim=1), self.channels)

    def moved_by(self, transform: SE3) -> PointCloud:
        """The same points in the target frame."""
        return self.with_xyz(transform.apply(self.xyz))

    def to(self, device: torch.device | str) -> PointCloud:
        """The same on another device."""
        return PointCloud(self.data.to(device, non_blocking=True), self.channels)
