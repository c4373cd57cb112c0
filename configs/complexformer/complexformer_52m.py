"""ComplexFormer in the size of its class's defaults, a language model; no weights are known."""

plugins = ["complexformer"]

model = dict(type="ComplexFormerLM", vocab=30522, width=512, heads=8, hidden=1024, depth=8, form="postnorm")
