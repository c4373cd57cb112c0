"""CenterPoint over dense pillars: the key map of the released checkpoints and configs over the shared parts."""

from perception.registry import PluginInfo

from .official import config_options, load_official

PLUGIN = PluginInfo(
    name="centerpoint_pillar",
    title="Center-based 3D Object Detection and Tracking",
    year=2021,
    roles=(),
    official="open-mmlab/mmdetection3d",
    checkpoints={
        "centerpoint_02pillar_second_secfpn_circlenms_4x8_cyclic_20e_nus_20220811_031844":
            "configs/centerpoint_pillar/centerpoint_pillar02_nuscenes_circle.py",
    },
    parity="head, targets, losses, decoding and pillar encoder equal the library's to 1e-5",
)

__all__ = ["PLUGIN", "config_options", "load_official"]
