"""PEM as published for Cityscapes' things and stuff (PQ 61.1; things 54.3, stuff 66.1)."""

_base_ = ["./pem_r50_cityscapes_semantic.py"]

things = (11, 12, 13, 14, 15, 16, 17, 18)            # person to bicycle
model = dict(things=things, head=dict(things=things))
