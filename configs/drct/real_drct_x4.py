"""Real-DRCT x4, trained by its authors on pictures with random blur, noise and compression, with and without a GAN.

The network is that of DRCT; only inference is offered here, not the degradations and losses of its training.
"""

_base_ = ["../_base_/models/drct.py", "../_base_/default_runtime.py"]

test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PictureFolder", root="data/Set5", pictures="HR", masks=None,
        transforms=[dict(type="LoadImages"), dict(type="ResolutionPairs", scale=4)],
    ),
)
test_evaluator = dict(type="SuperResolutionMetric")
