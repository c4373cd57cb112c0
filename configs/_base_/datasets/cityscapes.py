"""Cityscapes' 19 classes, by pixel: a config adds the transforms of its training.

The layout is the published one: leftImg8bit/ and gtFine/ below the root. Nothing has to be converted or listed.
"""

data_root = "data/cityscapes"
class_names = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)
things = (11, 12, 13, 14, 15, 16, 17, 18)          # person to bicycle

train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="EpochSampler", class_balanced=False),
    dataset=dict(type="CityscapesDataset", root=data_root, split="train", labels="classes"),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CityscapesDataset", root=data_root, split="val", labels="classes", transforms=[dict(type="LoadImages")]
    ),
)
test_dataloader = val_dataloader                   # the labels of the test split are not public
val_evaluator = dict(type="SemanticSegmentationMetric")
test_evaluator = val_evaluator
