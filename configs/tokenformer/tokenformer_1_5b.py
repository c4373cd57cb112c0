"""TokenFormer of one and a half billion parameters, a language model (perplexity 6.91 on the Pile as published)."""

plugins = ["tokenformer"]

model = dict(type="TokenFormerLM", variant="1.5B")
