"""Fused maps as files: one module a format."""
