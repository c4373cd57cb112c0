"""The procedural city: a seeded town whose sensors are ray-cast and whose labels are exact."""
