"""Hears: microphones, recordings and the simulator become blocks of sound, then windows or signal faults."""
