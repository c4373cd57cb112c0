"""Building blocks that several plugins share, and the task models that wire them."""
