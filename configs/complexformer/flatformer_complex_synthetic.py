"""The small FlatFormer of the synthetic city with complex attention in its groups.

    python tools/train.py configs/complexformer/flatformer_complex_synthetic.py --work-dir work_dirs/complex
"""

_base_ = ["../flatformer/flatformer_synthetic.py"]

plugins = ["flatformer", "complexformer"]

model = dict(lidar_backbone=dict(mixer=dict(type="ComplexAttentionMixer", heads=4, start="rotary")))
