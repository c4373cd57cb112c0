"""Detection heads: maps, targets, decoding, suppression."""
