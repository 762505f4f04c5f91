"""What an operation is: something a node can be asked, with a typed request and answer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from typing import Self

    from edge_monitor.node.node import Node


class Message(BaseModel):
    """A request, an answer, or a part of one; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def like(cls, value: object, **more: object) -> Self:
        """Return a message with what a value has by the same names, and `more` beside it or instead."""
        own = {name: getattr(value, name) for name in cls.model_fields if hasattr(value, name)}
        return cls.model_validate(own | more)


class Nothing(Message):
    """A request without parameters, or an answer that says no more than that it is done."""


class OfMachine(Message):
    """A request about one machine."""

    machine: str


class Kind(Enum):
    """What an operation does to the node."""

    READ = "read"
    WRITE = "write"
    LONG = "long"  # takes more than a second, or as long as it is listened to


class Role(IntEnum):
    """Who may ask; each may do what the one before it may."""

    LOOK = 0
    OPERATE = 1
    ADMIN = 2


Q = TypeVar("Q", bound=Message)
P = TypeVar("P", bound=Message)
A = TypeVar("A", bound=Message)
Cancelled = Callable[[], bool]  # asked now and then by what takes long; true: nobody waits for the answer any more


@dataclass(frozen=True, slots=True)
class Operation(Generic[Q, A]):
    """One that answers at once. `run` raises EdgeMonitorError."""

    name: str  # `alarms.list` is /v1/alarms/list
    run: Callable[[Node, Q], A]
    request: type[Q]
    answer: type[A]
    kind: Kind
    role: Role


@dataclass(frozen=True, slots=True)
class LongOperation(Generic[Q, P, A]):
    """One that yields its progress and returns its answer; closed before its end it leaves nothing half done."""

    name: str
    run: Callable[[Node, Q, Cancelled], Generator[P, None, A]]
    request: type[Q]
    answer: type[A]
    role: Role
    progress: type[P] = Nothing  # type: ignore[assignment] # most say no more than that they go on
    kind: Kind = Kind.LONG
    outlives_daemon: bool = False  # it ends with the next daemon of this process
