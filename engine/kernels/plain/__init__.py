"""On tensors as ONNX lays them out: what has no better kernel, and is small or rare."""
