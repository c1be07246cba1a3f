"""Kernels: instructions, packing, bodies, costs. No ONNX, no files, no threads."""
