"""kMaX-DeepLab over ConvNeXt-T, COCO panoptic (published PQ 55.5)."""

_base_ = ["kmax_r50_coco.py"]

model = dict(
    backbone=dict(
        _delete_=True, type="ConvNeXt", depths=(3, 3, 9, 3), widths=(96, 192, 384, 768), drop_path=0.3, ceil_sizes=True
    )
)
