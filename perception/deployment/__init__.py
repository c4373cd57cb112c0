"""Trained models as graphs that run without this package: torch.export, AOTInductor, ONNX."""
