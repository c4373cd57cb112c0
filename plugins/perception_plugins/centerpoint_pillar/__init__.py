"""CenterPoint over dense pillars or sparse voxels: key map, configs over the shared parts, and the sparse encoder."""

from perception.registry import PluginInfo, VariantInfo

from .official import config_options, load_official
from .sparse_encoder import SparseEncoder

PLUGIN = PluginInfo(
    name="centerpoint_pillar",
    title="Center-based 3D Object Detection and Tracking",
    year=2021,
    roles=("lidar_backbone",),
    official="open-mmlab/mmdetection3d",
    checkpoints={
        "centerpoint_02pillar_second_secfpn_circlenms_4x8_cyclic_20e_nus_20220811_031844":
            "configs/centerpoint_pillar/centerpoint_pillar02_nuscenes_circle.py",
        "centerpoint_01voxel_second_secfpn_circlenms_4x8_cyclic_20e_nus_20220810_030004":
            "configs/centerpoint_pillar/centerpoint_voxel01_nuscenes_circle.py",
        "centerpoint_0075voxel_second_secfpn_circlenms_4x8_cyclic_20e_nus_20220810_011659":
            "configs/centerpoint_pillar/centerpoint_voxel_nuscenes_circle.py",
    },
    parity="head, targets, losses, decoding and pillar encoder equal the library's to 1e-5; the sparse encoder equals "
    "dense convolution",
    variants={
        f"configs/centerpoint_pillar/centerpoint_{name}.py":
            VariantInfo(f"{score}, nuScenes val", "README of open-mmlab/mmdetection3d")
        for name, score in (
            ("pillar02_nuscenes", "49.1 mAP, 59.7 NDS"), ("pillar02_nuscenes_circle", "48.7 mAP, 59.6 NDS"),
            ("voxel01_nuscenes_circle", "56.1 mAP, 64.6 NDS"), ("voxel_nuscenes", "57.6 mAP, 65.4 NDS"),
            ("voxel_nuscenes_circle", "56.5 mAP, 65.2 NDS"),
        )
    },
)

__all__ = ["PLUGIN", "SparseEncoder", "config_options", "load_official"]
