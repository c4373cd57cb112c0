"""The small FlatFormer of the synthetic city, its layers made of parameter tokens alone, so that it can grow.

    python tools/train.py configs/tokenformer/flatformer_tokens_synthetic.py --work-dir work_dirs/tokens

`perception_plugins.tokenformer.grow_checkpoint` makes a larger one of a trained one, which begins with equal outputs.
"""

_base_ = ["../flatformer/flatformer_synthetic.py"]

plugins = ["flatformer", "tokenformer"]

model = dict(
    lidar_backbone=dict(
        mixer=dict(type="PattentionMixer", heads=4, layers=4),
        feed_forward=dict(type="PattentionFeedForward", layers=4),
    ),
)
