"""kMaX-DeepLab over ConvNeXt-L, ADE20K panoptic (published PQ 50.0)."""

_base_ = ["kmax_r50_ade20k.py"]

model = dict(
    backbone=dict(
        _delete_=True, type="ConvNeXt", depths=(3, 3, 27, 3), widths=(192, 384, 768, 1536), drop_path=0.7,
        ceil_sizes=True,
    )
)
