"""Builds model bundles; the only room that imports onnx (and later torch)."""
