"""The data contract: typed, tensor-backed, with units and frames in every docstring."""

from .annotations import Annotations
from .box_conversions import Argoverse2Rows, KittiRows, NuScenesRows, WaymoRows, wrap_angle
from .box_overlap import overlaps_bev
from .boxes3d import Boxes3D
from .calibration import Calibration, Camera
from .classification import ClassPrediction
from .frame import Frame, Sweep
from .geo import GeoCell, GeoLabel, GeoPrediction
from .geo_reference import GeoReference
from .global_map import GlobalMap
from .point_cloud import PointCloud
from .point_labels import PointLabels, PointPredictions
from .polylines import Polylines
from .predictions import FramePredictions, Predictions
from .se3 import SE3
from .segmentation import InstancePrediction, PanopticPrediction, PixelLabels, SegmentationPredictions, Segments
from .vector_map import LaneGraph, MapPredictions, SDMap, VectorMap

__all__ = [
    "SE3", "Annotations", "Argoverse2Rows", "Boxes3D", "Calibration", "Camera", "ClassPrediction", "Frame",
    "FramePredictions", "GeoCell", "GeoLabel", "GeoPrediction", "GeoReference", "GlobalMap", "InstancePrediction",
    "KittiRows", "LaneGraph", "MapPredictions", "NuScenesRows", "PanopticPrediction", "PixelLabels", "PointCloud",
    "PointLabels", "PointPredictions", "Polylines", "Predictions", "SDMap", "SegmentationPredictions", "Segments",
    "Sweep", "VectorMap", "WaymoRows", "overlaps_bev", "wrap_angle",
]
