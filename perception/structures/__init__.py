"""The data contract: typed, tensor-backed, with units and frames in every docstring."""

from .annotations import Annotations
from .box_conversions import Argoverse2Rows, KittiRows, NuScenesRows, WaymoRows, wrap_angle
from .box_overlap import overlaps_bev
from .boxes3d import Boxes3D
from .calibration import Calibration, Camera
from .frame import Frame, Sweep
from .point_cloud import PointCloud
from .predictions import Predictions
from .se3 import SE3

__all__ = [
    "SE3", "Annotations", "Argoverse2Rows", "Boxes3D", "Calibration", "Camera", "Frame", "KittiRows", "NuScenesRows",
    "PointCloud", "Predictions", "Sweep", "WaymoRows", "overlaps_bev", "wrap_angle",
]
