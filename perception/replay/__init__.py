"""Recorded drives through a detector, without ROS: sources -> pace -> detector -> sinks, with latencies."""
