"""P2AT-S for Cityscapes, with the defaults of the authors' code and the class weights that it ships."""

_base_ = ["../_base_/models/p2at.py", "../_base_/datasets/cityscapes.py", "../_base_/schedules/p2at_cityscapes.py"]

model = dict(
    classes=_base_.class_names,
    head=dict(
        criterion=dict(
            auxiliary_weight=0.5, semantic_weight=0.5, threshold=0.9, min_kept=100_000,
            class_weights=(
                0.8373, 0.918, 0.866, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023, 0.9539, 0.9843, 1.1116,
                0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507,
            ),
        ),
    ),
)
train_dataloader = dict(
    batch_size=4,                                    # of each of two processes
    dataset=dict(
        transforms=[
            dict(type="LoadImages"),
            dict(type="RandomResizeImages", scales=(0.5, 2.1), steps=17, size=(1024, 2048)),
            dict(type="RandomFlip", prob_x=0.0),
            dict(type="RandomCropImages", size=(1024, 1024)),
        ],
    ),
)
