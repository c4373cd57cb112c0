"""GeoDecoder as published for MP-16: seven hierarchies of at most 25,000 to 500 pictures a cell, 16 kinds of scene."""

_base_ = ["../_base_/models/geodecoder.py"]

model = dict(head=dict(num_classes=(684, 1744, 3298, 7202, 12893, 16150, 21673)))
