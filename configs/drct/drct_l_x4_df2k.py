"""DRCT-L x4 on DF2K, twice as many groups as DRCT (published PSNR of the luma on Set5: 33.37 dB)."""

_base_ = ["./drct_x4_df2k_finetune.py"]

model = dict(network=dict(variant="drct_l"))
