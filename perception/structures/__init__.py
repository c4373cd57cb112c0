"""The data contract: typed, tensor-backed, with units and frames in every docstring."""

from .annotations import Annotations
from .boxes3d import Boxes3D
from .calibration import Calibration, Camera
from .frame import Frame, Sweep
from .point_cloud import PointCloud
from .predictions import Predictions
from .se3 import SE3

__all__ = ["SE3", "Annotations", "Boxes3D", "Calibration", "Camera", "Frame", "PointCloud", "Predictions", "Sweep"]
