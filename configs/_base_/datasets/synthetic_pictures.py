"""The synthetic city's camera pictures, 400 by 224 pixels, with the class and the instance of every pixel.

First make it and list its frames (the city of synthetic_map.py and synthetic_lanes.py is the same):
    python tools/create_data.py synthetic data/synthetic_map --train-scenes 60 --val-scenes 10
    python tools/create_data.py index nuscenes data/synthetic_map --split train    (then val)
"""

_base_ = ["../classes/nuscenes_segmentation.py"]

data_root = "data/synthetic_map"
class_names = (*_base_.point_classes, "sky")
crop = (192, 320)                                  # height and width of what is trained on
scales = (0.8, 1.5)

colours = dict(
    type="PhotometricDistortion", brightness=16.0, contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=8.0
)

dataset = dict(type="NuScenesPictures", root=data_root, version="v1.0-trainval")
train_dataloader = dict(
    batch_size=3,                                  # of each of two processes
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="EpochSampler", class_balanced=False),
    dataset=dict(
        **dataset, split="train",
        transforms=[
            dict(type="LoadImages"),
            dict(type="RandomResizeImages", scales=scales),
            dict(type="RandomCropImages", size=crop, max_share=0.75),
            dict(type="RandomFlip", prob_x=0.0),
            colours,
        ],
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(**dataset, split="val", transforms=[dict(type="LoadImages")]),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="SemanticSegmentationMetric")
test_evaluator = val_evaluator
