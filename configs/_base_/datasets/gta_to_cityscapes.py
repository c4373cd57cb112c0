"""GTA5 (labelled) to Cityscapes (its training pictures unlabelled): pairs of crops of 512 by 512 pixels.

The source lies in images/ and labels/ below its root. Count its pixels once:
    python tools/create_data.py counts configs/daformer/daformer_gta2cityscapes.py
"""

_base_ = ["./cityscapes.py"]

source_root = "data/gta"
crop = (512, 512)

train_dataloader = dict(
    batch_size=2,                                  # 2 of the source and 2 of the target
    dataset=dict(
        _delete_=True,
        type="SourceTargetPairs",
        source=dict(
            type="GTADataset", root=source_root,
            transforms=[
                dict(type="LoadImages"),
                dict(type="RandomResizeImages", scales=(1.0, 1.0), size=(720, 1280)),
                dict(type="RandomCropImages", size=crop, max_share=0.75),
                dict(type="RandomFlip", prob_x=0.0),
            ],
        ),
        target=dict(
            type="CityscapesDataset", root=_base_.data_root, split="train", labels=None,
            transforms=[
                dict(type="LoadImages"),
                dict(type="ResizeImages", size=(512, 1024)),
                dict(type="RandomCropImages", size=crop),
                dict(type="RandomFlip", prob_x=0.0),
            ],
        ),
        rare_classes=dict(temperature=0.01, min_pixels=3000),
        counts="work_dirs/gta_pixel_counts.json",
    ),
)
