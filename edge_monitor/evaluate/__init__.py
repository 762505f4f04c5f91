"""Measures: published data sets against a bundle. Like `service`, it may import the rooms it measures."""
