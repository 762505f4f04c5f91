"""Tells: the durable outbox, the MQTT contract and the thread that publishes it."""
