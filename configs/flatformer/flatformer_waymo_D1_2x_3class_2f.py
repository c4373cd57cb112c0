"""FlatFormer on Waymo with two frames, as published: the fifth channel is the frame's number, 0 and -1."""

_base_ = ["flatformer_waymo_D1_2x_3class.py"]

num_frames = 2
model = dict(
    data_preprocessor=dict(
        channels=("x", "y", "z", "intensity", "time"), squashed=(),
        scales=dict(time=-10.0),                                   # published: frame numbers; frames are 0.1 s apart
    ),
)
