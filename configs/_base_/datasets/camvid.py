"""CamVid's 11 classes: a config adds the transforms of its training.

Pictures lie in train/, val/ and test/, their labels (NAME_L.png, in colours) in train_labels/, val_labels/ and
test_labels/.
"""

data_root = "data/camvid"
class_names = (
    "Bicyclist", "Building", "Car", "Column_Pole", "Fence", "Pedestrian", "Road", "Sidewalk", "SignSymbol", "Sky",
    "Tree",
)

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="EpochSampler", class_balanced=False),
    dataset=dict(type="CamVidDataset", root=data_root, split="train"),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="CamVidDataset", root=data_root, split="val", transforms=[dict(type="LoadImages")]),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="CamVidDataset", root=data_root, split="test", transforms=[dict(type="LoadImages")]),
)
val_evaluator = dict(type="SemanticSegmentationMetric")
test_evaluator = val_evaluator
