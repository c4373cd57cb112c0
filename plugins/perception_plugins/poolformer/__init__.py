"""PoolFormer: a MetaFormer whose tokens are mixed by average pooling."""

from perception.registry import PluginInfo, VariantInfo

from . import fusion  # noqa: F401  # declares the mixer
from .backbone import PoolFormer
from .official import load_official
from .pooling import PoolingMixer

TOP1 = {"s12": "77.2", "s24": "80.3", "s36": "81.4", "m36": "82.1", "m48": "82.5"}
ABLATIONS = ("id_s12", "pppa_s12_224", "ppaa_s12_224", "pppf_s12_224", "ppff_s12_224")
PLUGIN = PluginInfo(
    name="poolformer",
    title="MetaFormer Is Actually What You Need for Vision",
    year=2022,
    roles=("image_backbone", "token_mixer"),
    official="sail-sg/poolformer",
    checkpoints={
        **{f"poolformer_{size}": f"configs/poolformer/poolformer_{size}.py" for size in TOP1},
        **{f"metaformer_{name}": f"configs/poolformer/metaformer_{name}.py" for name in ABLATIONS},
    },
    parity="logits and maps of the PoolFormers equal the authors' code to 6e-6, gradients to 2e-6 of the largest; the "
    "ablation's other mixers have not been compared",
    variants={
        **{
            f"configs/poolformer/poolformer_{size}.py":
                VariantInfo(f"{top1} % top-1, ImageNet", "paper", picture=(224, 224))
            for size, top1 in TOP1.items()
        },
        **{f"configs/poolformer/metaformer_{name}.py": VariantInfo(picture=(224, 224)) for name in ABLATIONS},
    },
)

__all__ = ["PLUGIN", "PoolFormer", "PoolingMixer", "load_official"]
