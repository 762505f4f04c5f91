"""Remembers: how the machine sounds when healthy, and how far a window is from that."""
