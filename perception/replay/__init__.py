"""Replay of recorded drives: sources, pipeline, sinks; no ROS."""
