"""The same model, trained as it is but shown the SD map of another place when it is tested."""

_base_ = "mqbank_lidar_synthetic.py"

val_dataloader = dict(dataset=dict(sd_map=dict(elsewhere=True)))
test_dataloader = dict(dataset=dict(sd_map=dict(elsewhere=True)))
