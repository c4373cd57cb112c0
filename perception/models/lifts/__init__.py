"""From camera features to a bird's-eye-view map."""
