"""DRCT-L x3 on DF2K, twice as many groups as DRCT."""

_base_ = ["./drct_x3_df2k_finetune.py"]

model = dict(network=dict(variant="drct_l"))
