"""Compressing a checkpoint: from a config and weights to smaller ones, with figures before and after."""
