"""Cityscapes with instances: PQ, AP and mIoU."""

_base_ = ["./cityscapes.py"]

train_dataloader = dict(dataset=dict(labels="instances"))
val_dataloader = dict(dataset=dict(labels="instances"))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="PanopticSegmentationMetric"), dict(type="InstanceSegmentationMetric"),
    dict(type="SemanticSegmentationMetric"),
]
test_evaluator = val_evaluator
