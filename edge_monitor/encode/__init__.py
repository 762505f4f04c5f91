"""Understands: a model bundle and the ONNX sessions that turn a window into an embedding."""
