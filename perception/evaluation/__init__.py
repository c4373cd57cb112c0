"""Metrics: the official code where there is any, equal plain functions beside it."""
