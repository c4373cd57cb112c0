"""The synthetic city for map models that look at its six cameras."""

_base_ = "synthetic_map.py"

region = (-30.0, -15.0, 30.0, 15.0)
cameras = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")

train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        num_sweeps=0, cameras=cameras,
        transforms=[
            dict(type="LoadImages"),
            dict(type="RandomFlip"),
            dict(type="GlobalRotation", max_angle=3.14159),
            dict(type="GlobalTranslation", std=(2.0, 2.0, 0.0)),
            dict(type="CropVectorMap", region=region),
        ],
    ),
)
val_dataloader = dict(dataset=dict(num_sweeps=0, cameras=cameras, transforms=[dict(type="LoadImages")]))
test_dataloader = val_dataloader
