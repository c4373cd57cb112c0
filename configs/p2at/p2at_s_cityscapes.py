"""P2AT-S for Cityscapes, with the defaults of the authors' code and the class weights that it ships."""

_base_ = ["../_base_/models/p2at.py", "../_base_/schedules/p2at_cityscapes.py"]

model = dict(
    classes=(
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
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
