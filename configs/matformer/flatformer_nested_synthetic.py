"""The small FlatFormer of the synthetic city with nested feed-forward nets: one training, detectors of many sizes.

Any width of each of the four layers gives a plain detector. Statistics of batch normalisation are frozen halfway, so
all widths have learned to use the same ones.

    python tools/train.py configs/matformer/flatformer_nested_synthetic.py --work-dir work_dirs/nested
    ... --cfg-options schedule=sample max_iters=2000       # one width a batch: a quarter of the time for each
    python tools/compress.py NestedExtraction CONFIG CHECKPOINT --sweep "widths=16;16,16,32,32;32;64"
"""

_base_ = ["../flatformer/flatformer_synthetic.py"]

plugins = ["flatformer", "matformer"]
schedule = "sum"

# twice the hidden units of the plain detector, so that its own size is one of the four: 16, 32, 64 and 128
model = dict(lidar_backbone=dict(feed_forward=dict(type="NestedFeedForward", ratio=4.0)))
train_cfg = dict(type="NestedLoop", schedule=schedule)
