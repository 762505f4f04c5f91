"""Shows the product at work: the real commands and daemon, with a broker and a subscriber beside them."""
