"""The synthetic city's camera pictures for the segmentation of things and stuff; see synthetic_pictures.py."""

_base_ = ["./synthetic_pictures.py"]

things = tuple(range(10))                          # barrier to truck; the seven others are stuff
crop = (192, 320)                                  # height and width of what is trained on
scales = (1.0, 1.75)
fit = (308, 550)                                   # what whole pictures are enlarged to: by the mean of the scales

train_dataloader = dict(
    batch_size=4,                                  # of each of two processes
    dataset=dict(
        transforms=[
            dict(type="LoadImages"),
            dict(type="RandomResizeImages", scales=scales),
            dict(type="RandomCropImages", size=crop, max_share=0.75),
            dict(type="FilterInstances", min_pixels=48),         # three cells of the masks
            dict(type="RandomFlip", prob_x=0.0),
            dict(type="PhotometricDistortion", brightness=16.0, contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=8.0),
        ],
    ),
)
val_evaluator = dict(type="PanopticSegmentationMetric")
test_evaluator = val_evaluator
