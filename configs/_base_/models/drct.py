"""DRCT x4: six groups of Swin layers, 180 channels, windows of 16 x 16 pixels.

Whole frames want tiles, whose margin is a multiple of the window: model.tiles=dict(size=(128, 128), margin=64).
"""

plugins = ["drct"]

model = dict(type="SuperResolver", network=dict(type="DRCT", scale=4))
