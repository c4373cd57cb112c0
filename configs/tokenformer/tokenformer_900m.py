"""TokenFormer-900M, a language model (perplexity 7.38 on the Pile as published)."""

plugins = ["tokenformer"]

model = dict(type="TokenFormerLM", variant="900M")
