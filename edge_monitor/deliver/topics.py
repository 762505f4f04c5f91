"""The topic tree of one node: every name validated where it is made."""

from __future__ import annotations

from dataclasses import dataclass

from edge_monitor.config.table import SEGMENT
from edge_monitor.errors import ConfigError

_RESERVED = frozenset({"command", "status"})  # the node's own branches; a machine of that name would sit inside them


@dataclass(frozen=True, slots=True)
class Topics:
    """`{prefix}/{site}/{node}/…`; raises ConfigError for a segment outside `[A-Za-z0-9_-]{1,64}`."""

    prefix: str  # one or more segments, e.g. edge-monitor/v1
    site: str
    node: str

    def __post_init__(self) -> None:
        """Refuse wildcards, spaces and empty levels before a broker sees them."""
        for segment in (*self.prefix.split("/"), self.site, self.node):
            _checked(segment)

    @property
    def base(self) -> str:
        """Return what every topic of this node begins with."""
        return f"{self.prefix}/{self.site}/{self.node}"

    @property
    def status(self) -> str:
        """Return the node's retained life sign, also its Last Will."""
        return f"{self.base}/status"

    @property
    def command_reply(self) -> str:
        """Return where answers to commands go."""
        return f"{self.base}/command/reply"

    def command(self, verb: str) -> str:
        """Return where a command is received."""
        if verb == "reply":
            raise ConfigError("'reply' is where answers go, not a command", where="command topic")
        return f"{self.base}/command/{_checked(verb)}"

    def state(self, machine: str) -> str:
        """Return a machine's retained last state."""
        return self._of(machine, "state")

    def trend(self, machine: str) -> str:
        """Return a machine's retained last trend."""
        return self._of(machine, "trend")

    def score(self, machine: str) -> str:
        """Return a machine's rate-limited scores."""
        return self._of(machine, "score")

    def alert(self, machine: str) -> str:
        """Return start, update and end of a machine's alarms."""
        return self._of(machine, "alert")

    def condition(self, machine: str) -> str:
        """Return start and end of a machine's episodes: changed, and no alarm or not yet."""
        return self._of(machine, "condition")

    def explanation(self, machine: str) -> str:
        """Return the sentences that belong to a machine's alarms."""
        return self._of(machine, "explanation")

    def _of(self, machine: str, leaf: str) -> str:
        if machine in _RESERVED:
            raise ConfigError(
                f"a machine cannot be named {machine!r}", where="machine", hint="the node uses that topic"
            )
        return f"{self.base}/{_checked(machine)}/{leaf}"


def _checked(segment: str) -> str:
    if not SEGMENT.fullmatch(segment):
        raise ConfigError(
            f"{segment!r} cannot be a topic segment", where="topic", hint="use 1 to 64 of A-Z a-z 0-9 _ -"
        )
    return segment
