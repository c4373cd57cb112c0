"""Waymo Open Dataset without TensorFlow: records, messages, range images, labels and maps."""
