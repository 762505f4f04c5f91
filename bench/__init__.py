"""What the product costs, each figure beside something a reader knows; `python -m bench` measures all of it."""
