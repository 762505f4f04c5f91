"""The one SQLite file of a node: what it is recovered with. Every room may import it; it imports none of them."""
