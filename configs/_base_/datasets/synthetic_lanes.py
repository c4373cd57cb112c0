"""The synthetic city in OpenLane-V2's form: lane segments, crossings and connections in 60 m by 30 m, and an SD map.

The city and the surroundings are those of synthetic_map.py. Its SD map has the errors of real ones: roads and their
vertices are misplaced by 2 m, one line in five is missing, and no lane is counted.
"""

_base_ = "synthetic_map.py"

region = (-30.0, -15.0, 30.0, 15.0)                # x0, y0, x1, y1 [m], ego frame
sd_map = dict(region=region, errors=dict())

aggregate = dict(type="AggregateSweeps", num_sweeps=2)
keep_region = dict(type="RangeFilter", point_range=(-31.0, -16.0, -3.0, 31.0, 16.0, 3.0))

train_dataloader = dict(
    dataset=dict(
        map=None, lane_graph=dict(region=region), sd_map=sd_map,
        transforms=[
            aggregate,
            dict(type="RangeFilter", point_range=(-40.0, -25.0, -3.0, 40.0, 25.0, 3.0)),
            dict(type="DropSDMap", prob=0.1),
            dict(type="JitterSDMap", sigma_m=1.0, sigma_deg=1.0),
            dict(type="RandomFlip"),
            dict(type="GlobalRotation", max_angle=0.1),
            keep_region,
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        lane_graph=dict(region=region), sd_map=sd_map, transforms=[aggregate, keep_region],
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="OpenLaneV2Metric", crossings="edges"),
    dict(type="VectorMapMetric", classes=("ped_crossing",)),
]
test_evaluator = val_evaluator
