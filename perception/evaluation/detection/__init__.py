"""Scores of 3D boxes by the rules of the official tools, computed on columns of numbers."""
