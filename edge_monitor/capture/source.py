"""What every source of sound is, and how the configured ones are opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edge_monitor.config.machine import MachineSettings, MicrophoneSource, RecordingSource, SimulatorSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_monitor.records import AudioBlock, AudioLoss


class Source(Protocol):
    """Sound of one or more machines, in stream order for each of them.

    Blocks are 0.025 to 0.25 s long, mono, contiguous unless `gap` says otherwise. Stream time is samples / rate: from 0
    for recordings and the simulator, from the monotonic clock for microphones. `live` sound cannot be held back by a
    slow consumer: what does not fit is dropped, oldest first, and counted.
    """

    machines: tuple[str, ...]
    live: bool

    def items(self) -> Iterator[AudioBlock | AudioLoss]:
        """Yield blocks and losses until the recording ends or `close` is called.

        Called once; of live sound again if what it yielded raised in between. Raises AudioError when a recording cannot
        be read. A microphone's absence is no error here: it goes on trying.
        """

    def close(self) -> None:
        """End `items` soon, from any thread, and release device, file and child process; harmless twice."""


def open_sources(machines: Sequence[MachineSettings]) -> list[Source]:
    """Return the sources of these machines; those on the same audio interface share one.

    A microphone that cannot be opened now is waited for. Raises AudioError when a recording cannot be read,
    PortAudioMissingError when a microphone needs it, and ConfigError when a device is asked for at two rates.
    """
    sources: list[Source] = []
    microphones: dict[str, MicrophoneSource] = {}
    for machine in machines:
        match machine.source:
            case RecordingSource() as settings:
                from edge_monitor.capture.recording import Recording

                sources.append(Recording(machine.name, settings))
            case SimulatorSource() as settings:
                from edge_monitor.capture.simulator import SimulatedMachine

                sources.append(SimulatedMachine(machine.name, settings))
            case MicrophoneSource() as settings:
                microphones[machine.name] = settings
    if microphones:
        from edge_monitor.capture.microphone import open_microphones

        sources.extend(open_microphones(microphones))
    return sources
