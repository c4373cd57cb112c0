"""One cycle of the learning rate over the whole of a training of minutes."""

optim_wrapper = dict(
    type="AutocastOptimWrapper", dtype="auto", constructor="DecayGroupsConstructor",
    optimizer=dict(type="AdamW", lr=1e-4, weight_decay=0.01),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [dict(type="OneCycleLR", eta_max=3e-3, pct_start=0.1, div_factor=10, by_epoch=False)]
