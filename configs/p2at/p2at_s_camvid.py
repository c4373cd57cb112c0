"""P2AT-S as published for CamVid (mIoU 80.5 on its test split); trained on the training split."""

_base_ = ["../_base_/models/p2at.py", "../_base_/schedules/p2at_camvid.py"]

model = dict(
    classes=(
        "bicyclist", "building", "car", "pole", "fence", "pedestrian", "road", "sidewalk", "sign", "sky", "tree"
    ),
    head=dict(criterion=dict(boundary_semantic_weight=0.4)),
)
