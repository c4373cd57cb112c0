"""DAFormer's self-training of a P2AT that knows the synthetic city by day, with pictures in rain that have no labels.

It begins with the network that configs/p2at/p2at_s_synthetic.py trains:
    torchrun --nproc-per-node 2 tools/train.py configs/daformer/p2at_day2rain_synthetic.py --launcher pytorch \\
        --cfg-options model.pretrained=work_dirs/p2at_s_synthetic/iter_2100.pth
Without rare class sampling: train_dataloader.dataset.rare_classes=None; without the distance of features:
model.feature_distance=None; with the student as its own teacher: model.momentum=0.
"""

_base_ = ["./p2at_day_only_synthetic.py"]

plugins = ["p2at", "daformer"]

model = dict(
    _delete_=True,
    type="SelfTraining",
    student=_base_.model,
    momentum=0.99,                                 # of hundreds of steps, not of tens of thousands
    threshold=0.968,
    ignore_top=0,
    ignore_bottom=0,
    feature_distance=dict(things=tuple(range(10)), weight=0.005, min_share=0.75),
    augmentation=dict(strength=0.2, jitter_prob=0.8, blur_prob=0.5, sigma=(0.15, 1.15)),
)

train_dataloader = dict(                           # batches of pairs
    dataset=dict(
        _delete_=True,
        type="SourceTargetPairs",
        source=_base_.train_dataloader.dataset,
        target=dict(
            type="NuScenesPictures", root=_base_.target_root, version="v1.0-trainval", split="train", labelled=False,
            transforms=[
                dict(type="LoadImages"),
                dict(type="RandomResizeImages", scales=_base_.scales),
                dict(type="RandomCropImages", size=_base_.crop),
                dict(type="RandomFlip", prob_x=0.0),
            ],
        ),
        rare_classes=dict(temperature=0.01, min_pixels=500),
        counts="work_dirs/pixels_of_synthetic_day.json",
    ),
)

custom_hooks = [dict(type="StudentHook")]
