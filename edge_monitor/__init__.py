"""edge-monitor: hears a machine, knows how it sounds when healthy, and tells the plant when it no longer does."""

__version__ = "0.1.0"
