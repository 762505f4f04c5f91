"""What edge-monitor.toml may say, and what is wrong with it."""
