"""Point clouds to pillar features."""
