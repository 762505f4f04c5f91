"""Builds model bundles; the only room that imports onnx, and torch, which a baseline of `evaluate` needs as well."""
