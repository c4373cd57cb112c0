"""Skeletons of vision transformers whose mixers, norms and embeddings come from configs.

"MetaFormer Is Actually What You Need for Vision" (Yu et al., CVPR 2022): `MetaFormer` in stages, `ColumnarFormer` of
one width and stride.
"""
