"""The skeleton of PoolFormer-S12 for a token mixer of the linear attention zoo in every stage.

The four stages have 56 x 56, 28 x 28, 14 x 14 and 7 x 7 tokens at 224 x 224 pixels, row by row. No such network has
been published; the sizes of the mixers are ours.
"""

_base_ = ["metaformer_s12.py"]

plugins = ["poolformer", "linear_attention_zoo"]               # the skeleton names its own mixers, too
