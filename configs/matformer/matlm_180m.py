"""MatFormer-OLMo-180M, a language model of four widths, of the size that its published command makes."""

plugins = ["matformer"]

model = dict(type="MatLM", variant="180M")
