"""The small FlatFormer with a memory of past frames in place of past sweeps: one sweep a frame, without a time channel.

It learns from clips of consecutive keyframes, and is tested from frame to frame of whole drives. Behind --cfg-options,
``model.memory.mixer.type=NAME`` takes another mixer that streams (``plugins`` must name its plugin),
``model.memory.over=tokens`` reads the cells of a frame as a sequence, and ``model.memory=None`` has no memory: what one
sweep by itself gives of the same clips. Of ten sweeps it is
    num_sweeps=9 model.memory=None model.voxel_encoder.in_channels=5
    "model.data_preprocessor.channels=('x', 'y', 'z', 'intensity', 'time')"
Replay nuScenes drives with --keyframes, whose half seconds it learns from.
"""

_base_ = ["flatformer_synthetic.py"]

max_iters = 700                                    # of clips, so that training takes about as long as the base's 1,400
num_sweeps = 0
clip_length = 3

aggregate = dict(type="AggregateSweeps", num_sweeps=num_sweeps)
train_transforms = [
    aggregate,                                     # of no sweep: drops what lies on the vehicle itself
    # without GlobalScaling and PasteObjects, see ClipDataset
    dict(type="GlobalRotation", max_angle=0.1),
    dict(type="RangeFilter", point_range=(-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)),
    dict(type="FilterClasses", classes=_base_.class_names, min_points=1),
    dict(type="PointShuffle"),
]

model = dict(
    data_preprocessor=dict(channels=("x", "y", "z", "intensity")),
    voxel_encoder=dict(in_channels=4),
    memory=dict(
        type="TemporalMemory", channels=64, kernel=5, region=(-51.2, -51.2, 51.2, 51.2),
        mixer=dict(type="RecurrentMixer"),
        # nothing of the first frame tells how fast things are; None learns to find them sooner, and velocities later
        loss_steps=clip_length - 1,
    ),
    head=dict(loss_box=dict(code_weights=(1.0,) * 10)),        # velocities count as much as places
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True, type="ClipDataset", length=clip_length,
        dataset=dict(
            type="NuScenesDataset", root=_base_.data_root, version="v1.0-trainval", split="train",
            num_sweeps=num_sweeps, transforms=train_transforms,
        ),
    ),
)
val_dataloader = dict(
    sampler=dict(_delete_=True, type="SceneSampler"),
    dataset=dict(num_sweeps=num_sweeps, transforms=[aggregate]),
)
test_dataloader = val_dataloader

train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
custom_hooks = [dict(type="FreezeNormHook", begin=max_iters // 2)]
