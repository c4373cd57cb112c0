"""Attention between queries and feature maps; shared by several plugins."""
