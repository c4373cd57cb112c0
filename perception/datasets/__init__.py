"""Points, boxes and pictures of driving data sets; every loader yields `perception.structures.Frame`."""
