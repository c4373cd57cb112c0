"""Assigning predictions to true elements: costs of pairs and the cheapest one-to-one assignment."""
