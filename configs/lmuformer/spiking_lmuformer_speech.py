"""Spiking LMUFormer with membrane shortcuts (Speech Commands v2 top-1 96.12 % as published)."""

_base_ = ["./lmuformer_speech.py"]

model = dict(kind="membrane")
