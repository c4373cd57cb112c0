"""The same model without its SD map."""

_base_ = "mqbank_lidar_synthetic.py"

train_dataloader = dict(dataset=dict(sd_map=None))
val_dataloader = dict(dataset=dict(sd_map=None))
test_dataloader = dict(dataset=dict(sd_map=None))
