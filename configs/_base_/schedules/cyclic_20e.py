"""CenterPoint's nuScenes recipe: AdamW, one cosine cycle over 20 epochs, made for 8 GPUs with 4 samples each."""

_base_ = ["../default_runtime.py"]

train_cfg = dict(type="IterationLoop", max_epochs=20, val_interval=20000)
optim_wrapper = dict(                                              # every parameter is decayed, as published
    type="AutocastOptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-4, weight_decay=0.01),
    clip_grad=dict(max_norm=35, norm_type=2),
)
# 1e-4 -> 1e-3 over 40 % of the iterations, -> 1e-8 over the rest; published with beta1 cycled too, here it stays 0.9
param_scheduler = [
    dict(type="OneCycleLR", eta_max=1e-3, pct_start=0.4, div_factor=10, final_div_factor=1e4, by_epoch=False),
]
