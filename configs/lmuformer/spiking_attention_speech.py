"""Attention among spikes in place of the spiking memory; no weights of it were released."""

_base_ = ["./spiking_lmuformer_speech.py"]

model = dict(mixer="attention")
