"""Spiking LMUFormer whose shortcuts add spikes; no weights of it were released."""

_base_ = ["./lmuformer_speech.py"]

model = dict(kind="spikes")
