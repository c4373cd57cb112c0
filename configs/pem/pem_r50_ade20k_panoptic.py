"""PEM as published for the 100 things and 50 sorts of stuff of ADE20K (PQ 38.5; things 37.0, stuff 41.1)."""

_base_ = ["./pem_r50_ade20k_semantic.py"]

stuff = (
    0, 1, 2, 3, 4, 5, 6, 9, 11, 13, 16, 17, 21, 25, 26, 28, 29, 34, 40, 46, 48, 51, 52, 54, 59, 60, 61, 63, 68, 77, 79,
    84, 91, 94, 96, 99, 100, 101, 105, 106, 109, 113, 114, 117, 122, 128, 131, 140, 141, 145,
)
things = tuple(sorted(set(range(150)) - set(stuff)))
model = dict(things=things, head=dict(things=things))
