"""What the map metrics are made of: distances of lines, matching, curves and topology, as functions on arrays."""
