"""What may be asked of a node, by verb; the daemon and the commands answer with the same functions.

Each takes the node and keyword arguments of plain JSON types and yields plain JSON objects.
"""
