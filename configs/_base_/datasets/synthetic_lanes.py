"""The synthetic city in OpenLane-V2's form: lane segments, crossings and connections in 100 m by 50 m, and an SD map.

The city is that of synthetic_map.py. Its SD map has the errors of real ones: roads and their vertices are misplaced by
2 m, one line in five is missing, and no lane is counted.
"""

_base_ = "synthetic_map.py"

region = (-50.0, -25.0, 50.0, 25.0)                # x0, y0, x1, y1 [m], ego frame
num_sweeps = 2                                     # earlier ones, so three in all
sd_map = dict(region=region, errors=dict())

aggregate = dict(type="AggregateSweeps", num_sweeps=num_sweeps)
keep_region = dict(type="RangeFilter", point_range=(-51.2, -25.6, -3.0, 51.2, 25.6, 3.0))

train_dataloader = dict(
    dataset=dict(
        num_sweeps=num_sweeps, map=None, lane_graph=dict(region=region), sd_map=sd_map,
        transforms=[
            aggregate,
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
        num_sweeps=num_sweeps, map=None, lane_graph=dict(region=region), sd_map=sd_map,
        transforms=[aggregate, keep_region],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type="OpenLaneV2Metric", crossings="edges")
test_evaluator = val_evaluator
