"""GeoDecoder: which cell of the Earth a picture was taken in, at several granularities at once.

It is meant for cameras on vehicles: a frame tells the city and the map tile whose HD map is to be loaded when GNSS is
missing, and whether GNSS is plausible. It never replaces metric localisation. Finding out where strangers' photos were
taken is not what it is for: no worldwide weights ship with it, nor will any; partitions and models are made from the
user's own drives.
"""

from perception.registry import PluginInfo, VariantInfo

from .head import GeoDecoderHead, LegacyGeoHead
from .official import load_official

PLUGIN = PluginInfo(
    name="geodecoder",
    title="Where We Are and What We're Looking At: Query Based Worldwide Image Geo-localization Using Hierarchies and "
    "Scenes",
    year=2023,
    roles=("geo_head",),
    official="AHKerrigan/GeoGuessNet",
    checkpoints={
        "geodecoder_swinb": "configs/geodecoder/geodecoder_swinb_mp16.py",
        "legacy_swinb": "configs/geodecoder/geodecoder_legacy_swinb_mp16.py",
    },
    parity="the public code's decoder, losses, inference and gradients equal to 1e-5; the paper's decoder, which isn't "
    "public, equals an independent reference of its description to 1e-5; the authors have released no weights",
    variants={
        "configs/geodecoder/geodecoder_swinb_mp16.py": VariantInfo(
            "12.8, 33.5, 45.9, 61.0, 76.1 % within 1, 25, 200, 750, 2,500 km, Im2GPS3k", "paper", picture=(224, 224)
        ),
        "configs/geodecoder/geodecoder_legacy_swinb_mp16.py": VariantInfo(picture=(224, 224)),
        "configs/geodecoder/geodecoder_legacy_swinb_bdd100k.py": VariantInfo(picture=(224, 224)),
    },
)

__all__ = ["PLUGIN", "GeoDecoderHead", "LegacyGeoHead", "load_official"]
