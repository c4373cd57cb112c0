"""ComplexFormer in the size of the repository's config, a language model; no weights are known."""

plugins = ["complexformer"]

model = dict(type="ComplexFormerLM", vocab=250002, width=512, heads=8, hidden=512, depth=8, form="postnorm")
