"""kMaX-DeepLab over ResNet-50, ADE20K panoptic (published PQ 42.2)."""

_base_ = ["kmax_r50_coco.py"]

model = dict(
    head=dict(num_classes=150, decoder=dict(drop_path=0.0), panoptic=dict(thing=0.4, stuff=0.4))
)
train_cfg = dict(max_iters=100000)
