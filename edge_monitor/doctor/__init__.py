"""Checks, each of which says what to do."""
