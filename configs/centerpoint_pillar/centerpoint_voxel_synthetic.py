"""A small voxel CenterPoint for the synthetic city, beside `centerpoint_pillar_synthetic.py`; needs spconv.

pip install -e '.[sparse]', on a GPU '.[cuda]'.
"""

_base_ = ["centerpoint_pillar_synthetic.py"]

point_range = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
voxel_size = (0.2, 0.2, 0.4)
grid = (512, 512)

model = dict(
    voxel_encoder=dict(
        _delete_=True, type="MeanVFE", in_channels=5, voxel_size=voxel_size, point_range=point_range
    ),
    lidar_backbone=dict(
        _delete_=True, type="SparseEncoder", in_channels=5, grid=(*grid, 20), channels=(16, 32, 64), num_blocks=1,
        out_channels=32,
    ),
    bev_backbone=dict(strides=(1, 2)),
    head=dict(coder=dict(voxel_size=voxel_size, out_size_factor=4)),
)
