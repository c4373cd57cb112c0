"""Convolutional backbones over bird's-eye-view maps."""
