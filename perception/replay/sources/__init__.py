"""One module a kind of recording; see `perception.replay.source.FrameSource`."""
