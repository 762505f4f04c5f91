"""The one SQLite file of a node: schema, the one writer, reading connections, checkpoints, room on the disk."""
