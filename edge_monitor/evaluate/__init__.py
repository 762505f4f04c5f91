"""Measures: published data sets against a bundle. It may import every room, for it measures them."""
