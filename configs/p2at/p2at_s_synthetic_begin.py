"""The first ten minutes of p2at_s_synthetic.py, on pictures of half to three quarters of their size."""

_base_ = ["./p2at_s_synthetic.py"]

max_iters = 1200

model = dict(augmentation=None)
train_dataloader = dict(
    batch_size=6,
    dataset=dict(
        transforms=[
            dict(type="LoadImages"), dict(type="RandomResizeImages", scales=(0.5, 0.75)),
            dict(type="RandomCropImages", size=(112, 192), max_share=0.75), dict(type="RandomFlip", prob_x=0.0),
            _base_.colours,
        ],
    ),
)
val_dataloader = dict(dataset=dict(cameras=("CAM_FRONT",)))
param_scheduler = [
    dict(type="OneCycleLR", eta_max=3e-3, pct_start=0.15, div_factor=10, final_div_factor=1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
