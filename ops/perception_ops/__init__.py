"""Native kernels behind torch custom ops, each with a pure-torch reference.

``PERCEPTION_OPS=reference``, set before the import, forces the references; see `dispatch`. What only the
evaluation asks for takes NumPy arrays and is no custom op: `cutoff_matching`, `greedy_centers` and `upright_iou`.
"""

from . import cuda
from .bev_scatter import bev_scatter
from .circle_nms import circle_nms
from .dispatch import cuda_kernels, is_portable, native_available, native_kernels, portable_ops
from .group_attention import group_attention
from .group_layer import GroupLayerWeights, group_layer, serves_group_layer
from .hash_lookup import hash_lookup
from .lean_decode import lean_decode
from .lif_scan import lif_scan
from .points_in_boxes import points_in_boxes
from .rotated_iou import rotated_iou_bev, rotated_iou_bev_aligned
from .rotated_nms import rotated_nms
from .segment_reduce import segment_reduce
from .selective_scan import selective_scan
from .voxelize import voxelize
from .window_partition import WindowPartition, window_partition

__all__ = [
    "GroupLayerWeights",
    "WindowPartition",
    "bev_scatter",
    "circle_nms",
    "cuda",
    "cuda_kernels",
    "group_attention",
    "group_layer",
    "hash_lookup",
    "is_portable",
    "lean_decode",
    "lif_scan",
    "native_available",
    "native_kernels",
    "points_in_boxes",
    "portable_ops",
    "rotated_iou_bev",
    "rotated_iou_bev_aligned",
    "rotated_nms",
    "segment_reduce",
    "selective_scan",
    "serves_group_layer",
    "voxelize",
    "window_partition",
]
