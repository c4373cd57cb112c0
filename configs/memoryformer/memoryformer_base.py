"""MemoryFormer-base, a language model; no weights are released."""

plugins = ["memoryformer"]

model = dict(type="MemoryFormerLM", variant="base")
