"""The ops' kernels for tensors of a GPU, where they were built (``PERCEPTION_CUDA=ON``); importing this attaches them.

Each function takes the kernel module and the stream's address, then what the op takes: the same code runs in the tests
on the host, where the kernels are emulated. None of them waits for the device beyond what the op's reference does.
"""

from .bev_scatter import bev_gather, bev_scatter
from .group_attention import group_attention, group_attention_backward
from .hash_lookup import hash_lookup, hash_lookup_backward
from .lean_decode import lean_decode
from .lif_scan import lif_scan, lif_scan_backward
from .nms import circle_nms, rotated_nms
from .points_in_boxes import points_in_boxes
from .rotated_iou import rotated_iou_bev, rotated_iou_bev_aligned
from .segment_reduce import segment_max, segment_max_backward, segment_sum
from .selective_scan import selective_scan, selective_scan_backward
from .voxelize import voxelize
from .window_partition import window_partition

__all__ = [
    "bev_gather",
    "bev_scatter",
    "circle_nms",
    "group_attention",
    "group_attention_backward",
    "hash_lookup",
    "hash_lookup_backward",
    "lean_decode",
    "lif_scan",
    "lif_scan_backward",
    "points_in_boxes",
    "rotated_iou_bev",
    "rotated_iou_bev_aligned",
    "rotated_nms",
    "segment_max",
    "segment_max_backward",
    "segment_sum",
    "selective_scan",
    "selective_scan_backward",
    "voxelize",
    "window_partition",
]
