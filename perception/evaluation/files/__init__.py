"""Scores of submission files, a module a metric; see `listing` for what such a module has."""
