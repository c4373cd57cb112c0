"""DAFormer's network alone, as it is deployed: what the authors' checkpoints become when they are converted.

    python tools/convert_checkpoint.py daformer latest.pth work_dirs/daformer_gta.pth
"""

_base_ = [
    "../_base_/models/daformer_mitb5.py", "../_base_/datasets/cityscapes.py", "../_base_/default_runtime.py",
]

plugins = ["daformer"]
train_dataloader = None
