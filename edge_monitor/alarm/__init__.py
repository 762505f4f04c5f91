"""Decides: a pure state machine from scores to alarm events, and the history that carries it over restarts."""
