"""ADE20K with instances, 100 things and 50 sorts of stuff, converted to COCO's panoptic format.

Beside images/ lie ade20k_panoptic_train.json and ade20k_panoptic_val.json with folders of PNG files of the same name,
as the converters of mask transformers write them: categories 0 to 149 are the classes in their usual order.
"""

_base_ = ["./ade20k.py"]

stuff = (
    0, 1, 2, 3, 4, 5, 6, 9, 11, 13, 16, 17, 21, 25, 26, 28, 29, 34, 40, 46, 48, 51, 52, 54, 59, 60, 61, 63, 68, 77, 79,
    84, 91, 94, 96, 99, 100, 101, 105, 106, 109, 113, 114, 117, 122, 128, 131, 140, 141, 145,
)
things = tuple(sorted(set(range(150)) - set(stuff)))
annotations = "ade20k_panoptic_{split}.json"

train_dataloader = dict(
    dataset=dict(
        _delete_=True, type="CocoPanopticDataset", root=_base_.data_root, split="train", annotations=annotations,
        pictures="images/training", names=_base_.class_names,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True, type="CocoPanopticDataset", root=_base_.data_root, split="val", annotations=annotations,
        pictures="images/validation", names=_base_.class_names, transforms=[dict(type="LoadImages")],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type="PanopticSegmentationMetric")
test_evaluator = val_evaluator
