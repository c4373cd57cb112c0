"""Segmentation metrics on arrays: accumulators with `update` an image or scan, `merge` and `compute`, see each file."""
