"""The vector maps of single frames fused into one map of the drive."""

from .fusion import MapFusion

__all__ = ["MapFusion"]
