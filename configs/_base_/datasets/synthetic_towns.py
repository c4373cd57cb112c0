"""Eight synthetic towns at different places on the globe, through which many drives go, seen by the front camera.

Each town has streets, plants, pavements and a skyline of its own, all share the palette of their buildings. Drives of
both splits go through the same streets at other times: in other traffic and weather, now and then in other lanes. First
make it, list its frames and cut the globe into cells: towns, then their quarters, then cells of at most 170 m:
    python tools/create_data.py synthetic data/synthetic_towns --towns 8 --train-scenes 160 --val-scenes 24 \\
        --duration 50 --density 0.4 --columns 36 --channels CAM_FRONT --picture-scale 0.4
    python tools/create_data.py index nuscenes data/synthetic_towns --split train    (then val)
    python tools/create_data.py partition configs/geodecoder/geodecoder_small_synthetic.py \\
        --tau-max 4000 1000 6 --tau-min 5 --level-max 16 --out data/synthetic_towns/partition.parquet
"""

data_root = "data/synthetic_towns"
partition = f"{data_root}/partition.parquet"       # of the training pictures
crop = (80, 144)                                   # height and width of what is trained on, of 90 x 160
scales = (0.9, 1.1)

dataset = dict(type="NuScenesPlaces", root=data_root, version="v1.0-trainval", cameras=("CAM_FRONT",))
train_dataloader = dict(
    batch_size=16,                                 # of each of two processes
    num_workers=0,                                 # small pictures are read faster than they are handed over
    sampler=dict(type="EpochSampler", class_balanced=False),
    dataset=dict(
        **dataset, split="train",
        transforms=[                               # never mirrored: that is another place
            dict(type="LoadImages"),
            dict(type="RandomResizeImages", scales=scales),
            dict(type="RandomCropImages", size=crop),
            dict(
                type="PhotometricDistortion", brightness=24.0, contrast=(0.7, 1.3), saturation=(0.7, 1.3), hue=6.0,
                swap_channels=False,
            ),
            dict(type="LabelGeoCells", partition=partition),
        ],
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(**dataset, split="val", transforms=[dict(type="LoadImages")]),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="GeoLocalizationMetric")
test_evaluator = val_evaluator
