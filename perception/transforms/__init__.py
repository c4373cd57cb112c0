"""Maps (Frame, rng) -> Frame: loading, augmenting, filtering."""
