"""The authors' public code for MP-16: three hierarchies, and a decoder whose layers are not chained."""

_base_ = ["../_base_/models/geodecoder.py"]

model = dict(
    head=dict(
        _delete_=True, type="LegacyGeoHead", num_classes=(3298, 7202, 12893), num_scenes=16, channels=1024,
        hierarchy_weights=(0.5, 0.3, 0.2), label_smoothing=0.1,
        decoder=dict(depth=6, heads=12, head_channels=64, hidden=1024, legacy_chain=True),
    ),
)
