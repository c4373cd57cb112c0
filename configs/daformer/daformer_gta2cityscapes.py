"""DAFormer from GTA to Cityscapes as published (68.3 mIoU on Cityscapes' validation set, mean of the seeds 0, 1, 2).

Training begins with MiT-B5's ImageNet weights (NVIDIA's licence for SegFormer, non-commercial), which have to be
converted first and named:
    python tools/convert_checkpoint.py daformer mit_b5.pth work_dirs/mit_b5.pth
    python tools/train.py CONFIG --cfg-options model.student.pretrained=work_dirs/mit_b5.pth
"""

_base_ = ["../_base_/models/daformer_mitb5.py", "../_base_/schedules/daformer_40k.py"]

plugins = ["daformer"]

# Published crops are 512 x 512, the source's out of pictures brought into 1280 x 720, the target's out of 1024 x 512.
source_labels = {                                  # training number by GTA's; the others are ignored
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
    28: 15, 31: 16, 32: 17, 33: 18,
}
rare_classes = dict(temperature=0.01, min_pixels=3000)                 # of SourceTargetPairs

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
