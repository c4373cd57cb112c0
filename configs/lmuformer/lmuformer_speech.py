"""LMUFormer for spoken words (Speech Commands v2 top-1 96.53 % as published): 128 log-mel frames to 35 classes.

A sequence network without a task model here. Its features are normed by (x + 6.845978) / (2 * 5.5654526).
"""

plugins = ["lmuformer"]

model = dict(type="LMUFormer", in_channels=128, num_classes=35, channels=256, depth=1, ratio=4)
