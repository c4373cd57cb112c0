"""Perception for driving: one registry, one data contract, many published architectures."""

__version__ = "0.1.0"
