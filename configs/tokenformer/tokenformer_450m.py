"""TokenFormer-450M, a language model (perplexity 8.28 on the Pile as published)."""

plugins = ["tokenformer"]

model = dict(type="TokenFormerLM", variant="450M")
