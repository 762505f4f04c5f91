"""Which message goes next."""

from __future__ import annotations

from edge_monitor.deliver.in_flight import TopicQueues
from edge_monitor.deliver.outbox import OutboxRow


def _row(number: int, topic: str) -> OutboxRow:
    return OutboxRow(number, topic, b"%d" % number, "a", number, 0)


def _queues(*rows: tuple[int, str]) -> TopicQueues:
    queues = TopicQueues()
    for number, topic in rows:
        queues.add(_row(number, topic))
    return queues


def test_one_message_per_topic_is_in_flight() -> None:
    """The second row of a topic waits until the first is answered; other topics do not wait."""
    queues = _queues((1, "a"), (2, "a"), (3, "b"))
    first = list(queues.sendable(20))
    assert [message.payload for message in first] == [b"1", b"3"]
    assert list(queues.sendable(20)) == []
    queues.answered(first[0])
    assert [message.payload for message in queues.sendable(20)] == [b"2"]


def test_the_limit_holds_over_rows_and_last_values() -> None:
    """With a limit of two, one last value and one row go out."""
    queues = _queues((1, "a"), (2, "b"))
    queues.set_value("state", b"s")
    assert [message.payload for message in queues.sendable(2)] == [b"s", b"1"]
    assert [message.payload for message in queues.sendable(0)] == []


def test_a_lost_connection_puts_rows_back_in_front() -> None:
    """What was in flight goes out again before what came after it, with the same bytes."""
    queues = _queues((1, "a"), (2, "a"))
    assert [message.payload for message in queues.sendable(20)] == [b"1"]
    queues.connection_lost()
    (again,) = queues.sendable(20)
    assert again.payload == b"1"
    queues.answered(again)
    assert [message.payload for message in queues.sendable(20)] == [b"2"]


def test_last_values_replace_each_other_and_return_after_a_loss() -> None:
    """Only the newest value is sent, once; after a loss it is sent again, in the order the topics were first set."""
    queues = TopicQueues()
    queues.set_value("status", b"1")
    queues.set_value("state", b"2")
    queues.set_value("status", b"3")
    for message in list(queues.sendable(20)):
        queues.answered(message)
    assert queues.idle
    queues.connection_lost()
    assert [(message.topic, message.payload, message.row) for message in queues.sendable(20)] == [
        ("status", b"3", None),
        ("state", b"2", None),
    ]


def test_a_value_set_while_its_topic_is_in_flight_follows() -> None:
    """A newer state is not lost behind the one on its way."""
    queues = TopicQueues()
    queues.set_value("state", b"1")
    (in_flight,) = queues.sendable(20)
    queues.set_value("state", b"2")
    assert list(queues.sendable(20)) == []
    queues.answered(in_flight)
    assert [message.payload for message in queues.sendable(20)] == [b"2"]
