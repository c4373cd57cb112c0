"""What adaptation is measured against: a P2AT of the city by day goes on learning there, and is scored in rain.

First train configs/p2at/p2at_s_synthetic.py, then make other towns of the city in rain and list their frames:
    python tools/create_data.py synthetic data/synthetic_rain --look rain --seed 11 --train-scenes 20 --val-scenes 8 \\
        --duration 5
    python tools/create_data.py index nuscenes data/synthetic_rain --split train    (then val)
    torchrun --nproc-per-node 2 tools/train.py configs/daformer/p2at_day_only_synthetic.py --launcher pytorch \\
        --cfg-options load_from=work_dirs/p2at_s_synthetic/iter_2100.pth
"""

_base_ = ["../p2at/p2at_s_synthetic.py"]

max_iters = 300
target_root = "data/synthetic_rain"

train_dataloader = dict(batch_size=2)
val_dataloader = dict(dataset=dict(root=target_root))
test_dataloader = val_dataloader

param_scheduler = [dict(type="OneCycleLR", eta_max=1e-3, pct_start=0.1, div_factor=10, by_epoch=False)]
train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
