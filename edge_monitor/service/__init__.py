"""Runs: wires the rooms, the threads and the control socket."""
