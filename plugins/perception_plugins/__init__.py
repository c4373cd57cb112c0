"""The plugins that come with perception: one package an architecture, found by name without importing any."""
