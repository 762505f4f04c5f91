"""The daemon: its parts, threads and queues."""
