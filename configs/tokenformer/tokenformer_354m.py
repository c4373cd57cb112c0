"""TokenFormer-354M, from which 757M grows (perplexity 11.9 on OpenWebText2 after 600,000 steps as published)."""

plugins = ["tokenformer"]

model = dict(type="TokenFormerLM", variant="354M")
