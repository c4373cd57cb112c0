"""Models made smaller or faster after training."""
