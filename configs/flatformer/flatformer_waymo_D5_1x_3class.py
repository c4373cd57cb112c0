"""FlatFormer on a fifth of Waymo's training frames, 12 epochs, as published."""

_base_ = ["flatformer_waymo_D1_2x_3class.py"]

load_interval = 5
train_cfg = dict(max_epochs=12)
