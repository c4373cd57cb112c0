"""Names of the formats, for command lines; importing it loads nothing heavy."""

FORMATS = ("nuscenes", "argoverse2", "waymo", "kitti")
