"""Any image backbone as the encoder of a light segmentation head, 200 steps on the synthetic city's pictures.

    python tools/train.py configs/segmentation_encoders/encoder_synthetic.py --work-dir work_dirs/encoders/RMT \\
        --cfg-options encoder=RMT
With ``--amp`` in bfloat16, with ``small=False`` in the smallest size that its paper has. Loss and norm of the gradient
of every step lie in scalars.jsonl.
"""

_base_ = [
    "../_base_/datasets/synthetic_pictures.py", "../_base_/schedules/onecycle_small.py", "../_base_/default_runtime.py",
]

encoder = "PoolFormer"                               # the registered name of an image backbone
small = True
max_iters = 200

depths = (1, 1, 2, 1)                                # of the small forms: blocks, widths and heads of their stages
widths = (16, 32, 64, 128)
heads = (1, 2, 4, 8)

__identity, __attention = dict(type="IdentityMixer"), dict(type="AttentionMixer")
__deep = dict(depths=depths, widths=widths)
__heads = dict(**__deep, heads=heads)
__resnet = dict(depth=18, stem_channels=16, base_channels=16, counts=(1, 1, 1, 1))
__encoders = dict(                                   # plugin, what its class has to be told, and what makes it small
    Activator=("activator", dict(), dict(depth=3, width=64, hidden=128, dropout=0.0)),
    ActivatorMetaFormer=("activator", dict(), __deep),
    AlgoFormerBackbone=("algoformer", dict(inject="add"), dict(width=64, heads=2, loops=3)),
    ColumnarFormer=(None, dict(depth=12, width=192, token_mixer=__attention), dict(depth=3, width=64)),
    ConvNeXt=(None, dict(), __deep),
    DuoFormer=(
        "duoformer", dict(variant="light", scales=4, patch_residual=True),
        dict(cnn=dict(type="ResNet", **__resnet), depth=1, width=64, heads=4),
    ),
    EcoFormerPVTv2=("ecoformer", dict(), dict(**__heads, hashing=dict(bits=8, learning=dict(steps=20)))),
    EcoFormerTwins=("ecoformer", dict(), dict(**__heads, hashing=dict(bits=8, learning=dict(steps=20)))),
    FIT=(
        "fit", dict(),
        dict(layers="(1)1(1)", width=64, latent_width=64, heads=2, latent_heads=2, crop=2, latents=4),
    ),
    FMViT=("fmvit", dict(), dict(**__deep, head_channels=8, conv_head_channels=8)),
    MatViT=("matformer", dict(variant="ti"), dict(depth=3, width=64, heads=2)),
    MemoryFormer=("memoryformer", dict(), dict(depth=3, width=64, heads=2)),
    MetaFormer=(
        None,
        dict(
            depths=(2, 2, 6, 2), widths=(64, 128, 320, 512),
            token_mixer=[__identity, __identity, __attention, __attention],
        ),
        __deep,
    ),
    MixTransformer=(None, dict(), dict(depths=depths, channels=widths, heads=heads, drop_path=0.0)),
    PoolFormer=("poolformer", dict(), __deep),
    PyramidTNT=(
        "tnt", dict(variant="ti", img_size=_base_.crop),
        dict(
            depths=depths, channels=(16, 32, 64, 64), word_channels=(4, 8, 16, 16), heads=(1, 2, 4, 4),
            word_heads=(1, 2, 4, 4), drop_path=0.0,
        ),
    ),
    ResNet=(None, dict(depth=18), __resnet),
    RMT=("rmt", dict(variant="t"), dict(depths=depths, channels=widths, heads=(2, 2, 4, 8), drop_path=0.0)),
    SlabCSWin=("slab", dict(), dict(depths=depths, width=widths[0], heads=heads)),
    SlabDeiT=("slab", dict(), dict(depth=3, width=64, heads=2)),
    SlabPVT=("slab", dict(), __heads),
    SlabPVTv2=("slab", dict(), __heads),
    SlabSwin=("slab", dict(), dict(depths=depths, width=widths[0], heads=heads, windows=(8, 8, 4, 4))),
    STDC=(None, dict(), dict(depth=(1, 1, 1), base_channels=widths[0])),
    TimmBackbone=(None, dict(name="resnet18"), dict(name="test_resnet")),
    TNT=(
        "tnt", dict(variant="ti", img_size=_base_.crop),
        dict(depth=3, channels=64, word_channels=8, heads=2, word_heads=2, drop_path=0.0),
    ),
    TokenFormer=(
        "tokenformer", dict(),
        dict(depth=3, width=64, heads=2, qkv_slots=48, proj_slots=48, ffn_slots=192),
    ),
    TorchvisionSwin=(
        None, dict(variant="tiny"), dict(depths=depths, channels=widths[0], heads=heads, window=4, drop_path=0.0),
    ),
    VisionMamba=("ssm_vision", dict(), dict(depth=2, width=64, state=4)),
    VMambaBackbone=("ssm_vision", dict(), dict(**__deep, drop_path=0.0)),
    WideVisionTransformer=("wide_transformer", dict(), dict(width=64, heads=6, head_channels=16, hidden=128)),
)
__plugin, __needed, __slim = __encoders[encoder]

plugins = ["daformer"] if __plugin is None else ["daformer", __plugin]

model = dict(
    type="Segmentor",
    backbone=dict(type=encoder, **{**__needed, **(__slim if small else {})}),
    head=dict(
        type="DAFormerHead", channels=32, embed_channels=32, dropout=0.0, fusion=dict(type="ConvFusion"),
    ),
    classes=_base_.class_names,
)

train_dataloader = dict(batch_size=2)
val_dataloader = None
test_dataloader = None

optim_wrapper = dict(dtype=None)                     # ``--amp`` alone decides, on GPUs too
train_cfg = dict(type="IterationLoop", max_iters=max_iters)
default_hooks = dict(scalars=dict(interval=1, tensorboard=False))
custom_hooks = [dict(type="ProgressiveNormHook")] if __plugin == "slab" else []
