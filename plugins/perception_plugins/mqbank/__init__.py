"""MQBank: online lane graphs whose queries start from a navigation map, and its base LaneSegNet.

The authors released a paper, a data set and figures, no model. LaneSegNet is as released; what MQBank adds is a
definition of our own wherever the paper is silent, and each choice stands in one place: the bank in `bank`, the anchors
that a navigation map gives in `sd_anchors`, the start of the queries and the layers in `bank_decoder`. Drop-out and
noise of the navigation map in training are transforms of the data (`DropSDMap`, `JitterSDMap`).
"""

from perception.registry import PluginInfo, VariantInfo

from .bank_decoder import MQBankDecoder
from .lane_decoder import LaneSegDecoder
from .lane_head import LaneSegmentHead
from .official import load_official
from .topology_head import RelationshipHead

PLUGIN = PluginInfo(
    name="mqbank",
    title="Control Map Distribution using Map Query Bank for Online Map Generation",
    year=2025,
    roles=("map_head",),
    official="LaoWangBosch/Map_Query_Bank",
    checkpoints={
        "lanesegnet_r50_8x1_24e_olv2_subset_A": "configs/mqbank/lanesegnet_r50_8x1_24e_olv2_subset_A.py",
    },
    parity="LaneSegNet's encoder, decoder, heads and gradients equal the authors' code to 1e-4; the bank's decoder "
    "equals an independent computation of its definition to 1e-4",
    variants={
        "configs/mqbank/lanesegnet_r50_8x1_24e_olv2_subset_A.py": VariantInfo(
            "32.0 AP of lane segments, 34.9 AP of crossings, OpenLane-V2 subset A val",
            "LaneSegNet's released checkpoint",
        ),
        "configs/mqbank/mqbank_r50_olv2_subset_A.py": VariantInfo(
            "40.5 AP of lane segments, 45.7 AP of crossings, OpenLane-V2 subset A val", "paper"
        ),
    },
)

__all__ = ["PLUGIN", "LaneSegDecoder", "LaneSegmentHead", "MQBankDecoder", "RelationshipHead", "load_official"]
