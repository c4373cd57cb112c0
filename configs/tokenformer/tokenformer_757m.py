"""TokenFormer-757M, grown from 354M (perplexity 10.7 on OpenWebText2 after 120,000 more steps as published)."""

_base_ = ["./tokenformer_354m.py"]

model = dict(slot_factor=7 / 3)                      # 768 rows become 1792, 3072 become 7168
