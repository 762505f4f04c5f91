"""What can be asked of a node: its use cases, without threads."""
