"""A FlatFormer of half the widths that also learns from the synthetic city's detector; no paper has it.

First train the teacher, then name its weights:
    python tools/train.py configs/flatformer/flatformer_synthetic.py
    python tools/train.py CONFIG --cfg-options model.teacher_checkpoint=work_dirs/flatformer_synthetic/iter_1400.pth
"""

_base_ = ["../flatformer/flatformer_synthetic.py"]

model = dict(
    _delete_=True,
    type="Distilled",
    teacher=_base_.model,
    student=dict(
        type="Detector",
        data_preprocessor=_base_.model.data_preprocessor,
        voxel_encoder=dict(
            type="DynamicVFE", in_channels=5, channels=(16,), voxel_size=_base_.voxel_size,
            point_range=_base_.point_range, standardize=True,
        ),
        lidar_backbone=dict(
            type="FlatFormer", channels=16, grid=_base_.grid, window=(9, 9), group_size=69, num_blocks=1, num_heads=2
        ),
        bev_backbone=dict(
            type="SECOND", in_channels=16, channels=(16, 32), layers=(1, 2), strides=(2, 2), residual=True
        ),
        neck=dict(type="SECONDFPN", in_channels=(16, 32), channels=(16, 16), upsample=(1, 2)),
        head=dict(
            type="CenterHead",
            in_channels=32,
            tasks=_base_.model.head.tasks,
            common_heads=_base_.model.head.common_heads,
            shared_channels=16,
            head_channels=16,
            coder=_base_.model.head.coder,
            nms=_base_.model.head.nms,
            loss_box=_base_.model.head.loss_box,
            loss_axis=_base_.model.head.loss_axis,
            min_radius=1,
            box_radius=1,
        ),
        channels_last=False,
    ),
    terms=[
        dict(loss=dict(type="HeatmapDistillation", loss_weight=2.0), student="head", key="heatmap"),
        dict(loss=dict(type="ChannelDistillation", temperature=4.0), student="neck", project=(32, 64)),
    ],
)
