"""One module a way to keep results; see `perception.replay.pipeline.Sink`."""
