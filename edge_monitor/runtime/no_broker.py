"""What stands in for the publisher where no broker is configured."""

from __future__ import annotations

from edge_monitor.deliver.health import PublisherHealth


class NoBroker:
    """Has the publisher's methods; nothing is sent, and nothing waits."""

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> bool:
        """Return True: it is done."""
        return True

    def wake(self) -> None:
        """Do nothing."""

    def refresh_status(self) -> None:
        """Do nothing."""

    def set_state(self, machine: str, payload: bytes) -> None:
        """Do nothing."""

    def set_trend(self, machine: str, payload: bytes) -> None:
        """Do nothing."""

    def clear_retained(self, machine: str) -> None:
        """Do nothing: the machine is remembered until a broker has let go of it."""

    def publish_score(self, machine: str, payload: bytes) -> None:
        """Do nothing."""

    def publish_volatile(self, topic: str, payload: bytes, *, alarm_id: str, seq: int, created_ms: int) -> None:
        """Do nothing."""

    def health(self) -> PublisherHealth:
        """Return that nothing was ever sent."""
        return PublisherHealth()
