"""DRCT x4 on DF2K, from the weights of x2: --cfg-options model.pretrained=FILE; what x2 lacks begins at random."""

_base_ = ["./drct_x4_df2k_finetune.py"]

optim_wrapper = dict(optimizer=dict(lr=1e-4))
