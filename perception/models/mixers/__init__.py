"""Mixers among tokens, and among the channels of a token, that any skeleton takes by their registered names."""
