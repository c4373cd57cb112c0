"""A small VectorMapNet for the synthetic city's cameras, made for two CPU cores."""

_base_ = [
    "../_base_/datasets/synthetic_map_cameras.py", "../_base_/schedules/onecycle_small.py",
    "../_base_/default_runtime.py",
]

plugins = ["vectormapnet"]
max_iters = 2400
region = (-30.0, -15.0, 30.0, 15.0)
cameras = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")

model = dict(
    type="MapGenerator",
    data_preprocessor=dict(type="MapDataPreprocessor", cameras=cameras, use_points=False),
    bev_encoder=dict(
        type="VectorMapNetEncoder", channels=64, region=region,
        camera=dict(
            image_backbone=dict(
                type="ResNet", depth=18, style="pytorch", base_channels=16, stem_channels=16, norm_eval=False,
            ),
            image_channels=32, groups=8, heights=(0.0, 1.5),
        ),
    ),
    neck=dict(type="VectorMapNetNeck", in_channels=64, channels=192, hidden_channels=64),
    head=dict(
        type="VectorMapHead", in_channels=192, region=region, normalisation="true", bin_offset=0.5,
        # no dropout: on a CPU drawing it takes a third of a step
        detector=dict(num_queries=60, channels=128, layers=3, hidden=256, dropout=0.0),
        generator=dict(channels=128, layers=4, hidden=256, max_positions=64, dropout=0.0),
        top_k=25, max_vertices=32, nucleus=0.0,
    ),
)

train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
