"""GeoDecoder for a vehicle's camera: one middle crop, for mirroring turns texts about, and one kind of scene.

Name the file of a partition of your own drives as ``model.partition``; at city scale, bounds of 5,000, 1,000 and 200
frames a cell give cells of about a kilometre to 70 m.
"""

_base_ = ["../_base_/models/geodecoder.py"]

model = dict(
    data_preprocessor=dict(crops="center"),
    head=dict(num_scenes=1),
)
