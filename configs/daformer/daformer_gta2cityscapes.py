"""DAFormer from GTA to Cityscapes as published (68.3 mIoU on Cityscapes' validation set, mean of the seeds 0, 1, 2).

Training begins with MiT-B5's ImageNet weights (NVIDIA's licence for SegFormer, non-commercial), which have to be
converted first and named:
    python tools/convert_checkpoint.py daformer mit_b5.pth work_dirs/mit_b5.pth
    python tools/train.py CONFIG --cfg-options model.student.pretrained=work_dirs/mit_b5.pth
"""

_base_ = [
    "../_base_/models/daformer_mitb5.py", "../_base_/datasets/gta_to_cityscapes.py",
    "../_base_/schedules/daformer_40k.py",
]

plugins = ["daformer"]

model = dict(
    _delete_=True,
    type="SelfTraining",
    student=_base_.model,
    momentum=0.999,
    threshold=0.968,
    ignore_top=15,
    ignore_bottom=120,
    feature_distance=dict(things=(6, 7, 11, 12, 13, 14, 15, 16, 17, 18), weight=0.005, min_share=0.75),
    augmentation=dict(strength=0.2, jitter_prob=0.8, blur_prob=0.5, sigma=(0.15, 1.15)),
)

custom_hooks = [dict(type="StudentHook")]
