"""Losses, normalised over all ranks."""
