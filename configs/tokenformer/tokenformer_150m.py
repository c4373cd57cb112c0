"""TokenFormer-150M, a language model (perplexity 10.45 on the Pile as published)."""

plugins = ["tokenformer"]

model = dict(type="TokenFormerLM", variant="150M")
