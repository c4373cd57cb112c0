"""The synthetic city for map models: the surroundings of 60 m by 30 m as polylines, scored by Chamfer AP.

First make it and list its frames (without --cameras none for models that look at pictures):
    python tools/create_data.py synthetic data/synthetic_map --train-scenes 60 --val-scenes 10 --cameras none
    python tools/create_data.py index nuscenes data/synthetic_map --split train    (then val)
"""

data_root = "data/synthetic_map"
region = (-30.0, -15.0, 30.0, 15.0)                # x0, y0, x1, y1 [m], ego frame
num_sweeps = 2                                     # earlier ones, so three in all

around = (-40.0, -25.0, 40.0, 25.0)                # more than is learnt from, so that the scene can be turned
aggregate = dict(type="AggregateSweeps", num_sweeps=num_sweeps)
keep_region = dict(type="RangeFilter", point_range=(-31.0, -16.0, -3.0, 31.0, 16.0, 3.0))

train_dataloader = dict(
    batch_size=2,                                  # of each of two processes
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="EpochSampler", class_balanced=False),
    dataset=dict(
        type="NuScenesDataset", root=data_root, version="v1.0-trainval", split="train", num_sweeps=num_sweeps,
        map=dict(region=around),
        transforms=[
            aggregate,
            dict(type="RangeFilter", point_range=(*around[:2], -3.0, *around[2:], 3.0)),
            dict(type="RandomFlip"),
            dict(type="GlobalRotation", max_angle=0.15),
            dict(type="GlobalTranslation", std=(1.0, 1.0, 0.0)),
            keep_region,
            dict(type="CropVectorMap", region=region),
        ],
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="NuScenesDataset", root=data_root, version="v1.0-trainval", split="val", num_sweeps=num_sweeps,
        map=dict(region=region), transforms=[aggregate, keep_region],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="VectorMapMetric")
test_evaluator = val_evaluator
