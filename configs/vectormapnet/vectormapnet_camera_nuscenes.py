"""VectorMapNet from six cameras, as released (42.1 mAP).

The released figures compare lines in a frame that is shrunken by 60/62 and 30/32: for them set
``model.head.output_frame=published`` and give the truth the same (`Canvas.shrunken`).
"""

_base_ = ["../_base_/datasets/nuscenes_map.py", "../_base_/schedules/vectormapnet_130e.py"]

plugins = ["vectormapnet"]
region = (-30.0, -15.0, 30.0, 15.0)

model = dict(
    type="MapGenerator",
    data_preprocessor=dict(
        type="MapDataPreprocessor",
        cameras=("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT"),
        mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), bgr=True, pad_divisor=32,
        pad_scales_intrinsics=True,                # a slip of the release that its weights have learnt with
        use_points=False,
    ),
    bev_encoder=dict(type="VectorMapNetEncoder", camera=dict(heights=(-1.1, 0.0, 0.5, 1.1)), region=region),
    neck=dict(type="VectorMapNetNeck"),
    head=dict(
        type="VectorMapHead",
        in_channels=128,
        region=region,
        canvas=(200, 100),
        detector=dict(num_queries=120, channels=256, heads=8, layers=6, hidden=512, points=4, dropout=0.1),
        generator=dict(channels=256, heads=8, layers=6, hidden=512, max_positions=500, dropout=0.2),
        top_k=35,
        max_vertices=64,
        nucleus=0.9,
    ),
)
