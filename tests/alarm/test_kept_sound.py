"""What is kept of a machine's sound for the day it alarms."""

from __future__ import annotations

import numpy as np

from edge_monitor.alarm.history import MAX_WINDOWS
from edge_monitor.alarm.state_machine import AlarmStateMachine, Restored
from edge_monitor.config.machine import AlarmSettings
from edge_monitor.pipeline.alarm_audio import KeptSound
from edge_monitor.records import Embedding, Score, Window


def test_an_episode_leaves_room_for_the_loud_windows_of_the_alarm_it_becomes() -> None:
    """Who rejects that alarm has both sounds learnt: the one that lasted, and the loud one."""
    settings = AlarmSettings()
    kept = KeptSound(settings, window_s=10.0, hop_s=10.0)
    alarm = AlarmStateMachine("pump", settings, lambda: "a0", Restored())
    embedding = Embedding(np.zeros(3, dtype=np.float32), "bundle")
    lasting: list[float] = []
    loud: list[float] = []
    for place in range(420):
        start_s, value = 10.0 * place, 2.0 if place >= 400 else 0.7
        score = Score("pump", value, 1.0, 1, (), start_s, start_s + 10.0, -20.0, low_line=0.5)
        kept.add(score, embedding)
        event = alarm.on_score(score, place)
        if event is not None and event.begins:
            window = Window("pump", np.zeros(160, dtype=np.float32), 16_000, start_s, start_s + 10.0)
            lasting += [each.start_s for each in kept.begin(event, window, embedding).windows]
        if alarm.active is not None and (further := kept.further(score, embedding)):
            loud.append(further.start_s)
    assert MAX_WINDOWS // 4 < len(lasting) <= MAX_WINDOWS // 2
    assert lasting[0] - lasting[-1] > settings.changed_after_s / 2  # spread over the hour
    assert loud == [10.0 * place for place in range(400, 420)]
