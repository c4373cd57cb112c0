"""The formats of exported graphs; importing it loads nothing heavy."""

SUFFIXES = {"torch-export": ".pt2", "aoti": ".pt2", "onnx": ".onnx"}     # of the files, by format
