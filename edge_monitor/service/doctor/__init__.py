"""The doctor: looks at everything a node needs and says what to do."""
