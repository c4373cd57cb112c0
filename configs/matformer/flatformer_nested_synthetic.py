"""The small FlatFormer of the synthetic city with nested feed-forward nets: one training, detectors of many sizes.

Behind the training `perception_plugins.matformer.extract` makes a plain detector of any widths, one for each of the
four layers. Batch normalisation behind them has seen all widths: take its statistics anew for what is extracted
(`perception.compression.norm_statistics.estimate_statistics`).

    python tools/train.py configs/matformer/flatformer_nested_synthetic.py --work-dir work_dirs/nested
    ... --cfg-options schedule=sample                  # one width a batch: a quarter of the time
"""

_base_ = ["../flatformer/flatformer_synthetic.py"]

plugins = ["flatformer", "matformer"]
schedule = "sum"

# twice the hidden units of the plain detector, so that its own size is one of the four: 16, 32, 64 and 128
model = dict(lidar_backbone=dict(feed_forward=dict(type="NestedFeedForward", ratio=4.0)))
train_cfg = dict(type="NestedLoop", schedule=schedule)
