"""Explains: pictures and sound that show how an alarm differs from its nearest normal."""
