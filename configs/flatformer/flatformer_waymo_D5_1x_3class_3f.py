"""FlatFormer on a fifth of Waymo's training frames with three frames as input, 12 epochs, as published."""

_base_ = ["flatformer_waymo_D1_2x_3class.py"]

num_frames = 3
load_interval = 5
train_cfg = dict(max_epochs=12)
model = dict(
    data_preprocessor=dict(
        channels=("x", "y", "z", "intensity", "time"), squashed=(),
        scales=dict(time=-10.0),                                   # published: frame numbers; frames are 0.1 s apart
    ),
)
