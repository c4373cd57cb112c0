"""Memories that carry what past frames told over to the present one."""
