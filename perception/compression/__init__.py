"""Models made smaller or faster after training.

Definitions stand by themselves as plain functions: `int8`, `int4_groups`, `block_quantize` (BCT), `smooth_scale`,
`magnitude`, `hidden_units`, `low_rank`, `pareto`, `batch_norm`. A `Compressor` applies one of them to a model and says
how the config changes; it is registered in `COMPRESSORS`, by this package or by a plugin. `Compressed` is the model
type that builds the result from a config, `Distilled` the one that trains a model beside another. `tools/compress.py`
goes from a checkpoint to a smaller one, with figures before and after.
"""
