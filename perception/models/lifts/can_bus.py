"""What BEVFormer's queries are told of the vehicle's motion: the eighteen numbers of nuScenes' CAN bus."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perception.structures import Frame


def can_bus_signals(frame: Frame) -> Tensor:
    """(18,) float32 of a frame without history.

    Columns 0 to 2 are the way since the frame before [m] and 17 the turn since then [deg], which are 0; 3 to 6 are the
    quaternion (w, x, y, z) of the vehicle in the world, 16 is its yaw [rad] in [0, 2 pi); 7 to 15, accelerations, rates
    and speeds, are 0, as in LaneSegNet.

    Raises:
        ValueError: the frame has no pose.
    """
    if frame.global_from_ego is None:
        raise ValueError(f"frame {frame.token} has no global_from_ego, which use_can_bus needs")
    signals = torch.zeros(18, dtype=torch.float64)
    signals[3:7] = frame.global_from_ego.quaternion()
    signals[16] = frame.global_from_ego.yaw % (2 * math.pi)
    return signals.float()
