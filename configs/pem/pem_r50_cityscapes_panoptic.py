"""PEM as published for Cityscapes' things and stuff (PQ 61.1; things 54.3, stuff 66.1)."""

_base_ = ["./pem_r50_cityscapes_semantic.py"]

model = dict(things=_base_.things, head=dict(things=_base_.things))
train_dataloader = dict(dataset=dict(labels="instances"))
val_dataloader = dict(dataset=dict(labels="instances"))
test_dataloader = val_dataloader
val_evaluator = [dict(type="PanopticSegmentationMetric"), dict(type="SemanticSegmentationMetric")]
test_evaluator = val_evaluator
