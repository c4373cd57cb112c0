"""Waymo's metrics without TensorFlow: detection in 3D and bird's eye view, semantic segmentation of points."""

from .detection import WaymoScores, evaluate_waymo, prepare_ground_truth, waymo_table
from .let_3d_ap import evaluate_let_3d
from .objects import WaymoObjects
from .objects_file import read_waymo_objects, write_waymo_objects
from .segmentation import evaluate_waymo_segmentation, read_waymo_segmentation

__all__ = [
    "WaymoObjects",
    "WaymoScores",
    "evaluate_let_3d",
    "evaluate_waymo",
    "evaluate_waymo_segmentation",
    "prepare_ground_truth",
    "read_waymo_objects",
    "read_waymo_segmentation",
    "waymo_table",
    "write_waymo_objects",
]
