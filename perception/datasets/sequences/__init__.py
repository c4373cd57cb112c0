"""Data sets made of the frames of another one: what has more than a frame an entry is no `FrameDataset` itself."""
