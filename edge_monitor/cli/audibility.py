"""How faint a fault is heard, measured at the end of `enroll`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.console import Progress
from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_monitor.api.client import NodeClient
    from edge_monitor.console import Console
    from edge_monitor.encode.manifest import AudioPart
    from edge_monitor.node.enrolled_sound import EnrolledSound
    from edge_monitor.node.generations import GenerationSummary
    from edge_monitor.node.measuring_audibility import AudibilityProgress


def sound_of_files(client: NodeClient, paths: Sequence[Path], channel: int, audio: AudioPart) -> EnrolledSound | None:
    """Send windows of enrolled recordings to the node; None: there is no sound in them."""
    from edge_monitor.node.enrolled_sound import sample_files

    sample = sample_files(paths, channel, audio)
    return sample.sent(client.send) if sample else None


def with_audibility(
    client: NodeClient, active: GenerationSummary, sound: EnrolledSound, console: Console
) -> GenerationSummary:
    """Return the active generation with how faint a fault it hears; as it is, and a line why, where that fails.

    An interrupt leaves it active, and not measured.
    """
    from edge_monitor.api.client import finish
    from edge_monitor.node.operations import MEASURE_AUDIBILITY

    with console.progress() as show:

        def tell_done(progress: AudibilityProgress) -> None:
            show(Progress("Mixing in faults", progress.done, 1.0))

        request = MEASURE_AUDIBILITY.request(machine=active.machine, sound=sound, bundle_hash=active.bundle_hash)
        try:
            found = finish(client, MEASURE_AUDIBILITY, request, tell_done)
        except EdgeMonitorError as error:
            console.say(f"edge-monitor: how faint a fault is heard is not known: {error}")
            return active
        except KeyboardInterrupt:
            known = f"generation {active.generation} is active; how faint a fault it hears is not known"
            console.say(f"edge-monitor: interrupted; {known}")
            raise
        show(Progress("Mixing in faults", 1.0, 1.0))
    return active.model_copy(
        update={"audibility": found.audibility, "audible": found.audible, "verdict": found.verdict}
    )
