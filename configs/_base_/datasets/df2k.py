"""DF2K, the 3,450 pictures of DIV2K and Flickr2K, to train super-resolution on, and Set5 to score it.

Only pictures in high resolution are read: data/DF2K/HR/*.png and data/Set5/HR/*.png. The small ones are made
from them, see df2k_x2.py and the others.
"""

data_root = "data/DF2K"
val_root = "data/Set5"

varied = [dict(type="LoadImages"), dict(type="RandomFlip", prob_x=0.0), dict(type="RandomQuarterTurns")]
patch = (64, 64)                                   # of the small picture

pictures = dict(type="PictureFolder", pictures="HR", masks=None)
train_dataloader = dict(
    batch_size=4,                                  # of each of 8 processes
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="EpochSampler", class_balanced=False),
    dataset=dict(**pictures, root=data_root),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(**pictures, root=val_root),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="SuperResolutionMetric")
test_evaluator = val_evaluator
