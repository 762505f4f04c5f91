"""`[[machine]]`: one machine, its source of sound, and how it alarms."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from edge_monitor.config.table import NonNegative, Positive, Segment, Table, WrittenPath


def _not_the_nodes(text: str) -> str:
    if text in {"command", "status"}:
        raise ValueError("is a topic of the node itself; choose another name")
    return text


def _one_topic(text: str) -> str:
    if set(text) & set("+#\0"):
        raise ValueError("name one topic, without + or #")
    if text != text.strip():
        raise ValueError("has blanks before or after it, and no topic of the plant has")
    if text.startswith("$"):  # a shared subscription gives each message to one subscriber alone; $SYS is no machine
        raise ValueError("name a topic of the plant: those with $ are the broker's own")
    return text


class MicrophoneSource(Table):
    """A channel of an audio interface."""

    kind: Literal["microphone"]
    device: str = Field(min_length=1, description="as `edge-monitor devices` prints it, or a unique part of it")
    channel: int = Field(default=1, ge=1, le=256, description="counted from 1")
    rate_hz: int | None = Field(default=None, ge=8000, le=384_000, description="default: the device's own rate")


class RecordingSource(Table):
    """A WAV or FLAC file, or a folder of them played in name order as one stream."""

    kind: Literal["recording"]
    path: WrittenPath = Field(description="file or folder")
    pace: Literal["realtime", "max"] | Positive = Field(
        default="realtime", description='"realtime", "max" (as fast as it goes, then exit) or a factor'
    )
    channel: int = Field(default=1, ge=1, le=256, description="counted from 1")
    loop: bool = Field(default=False, description="start again at the end")


class SimulatorSource(Table):
    """A simulated rotating machine, for trials and demonstrations."""

    kind: Literal["simulator"]
    machine: Literal["pump", "fan", "gearbox"] = Field(default="pump", description="which machine is simulated")
    seed: int = Field(default=0, description="which individual machine; same seed and take, same sound")
    take: int = Field(default=0, ge=0, description="another recording of the same machine")
    fault: Literal["bearing", "cavitation", "belt", "rattle", "imbalance", "no-flow"] | None = Field(
        default=None, description="the fault that sets in"
    )
    fault_at_s: NonNegative = Field(default=60.0, description="stream time at which it sets in, seconds")
    fault_db: float = Field(
        default=6.0, ge=-40, le=40, description="fault level over the healthy sound in the fault's own band, dB"
    )
    stops: tuple[Annotated[tuple[NonNegative, NonNegative], Field(strict=False)], ...] = Field(
        default=(), strict=False, description="[[stop_s, start_s], …] in stream time"
    )
    seconds: Positive | None = Field(default=None, description="end after this much stream time")
    pace: Literal["realtime", "max"] | Positive = Field(default="realtime", description="as for recordings")


Source = Annotated[MicrophoneSource | RecordingSource | SimulatorSource, Field(discriminator="kind")]


class AlarmSettings(Table):
    """`[machine.alarm]`: when a score becomes an alarm. Terms of ISA-18.2."""

    threshold: Literal["calibrated"] | Positive = Field(
        default="calibrated", description='"calibrated", or a number that holds for threshold_generation only'
    )
    threshold_generation: int | None = Field(default=None, ge=1, description="the generation a number was chosen for")
    false_alarms_per_day: Positive = Field(default=0.1, description="what calibration aims at")
    changed_per_month: Positive = Field(
        default=1.0, description="how often a healthy machine may be found changed; more than 0.9 hears no more"
    )
    raise_: tuple[int, int] = Field(
        default=(3, 5), alias="raise", strict=False, description="[m, n]: m of the last n disjoint windows"
    )
    changed_after_s: float = Field(
        default=3600.0,
        ge=1,
        le=86_400,
        description='condition 2, "changed": when 80 % of so much sound lies above what healthy sound rarely keeps up',
    )
    alarm_after_s: float = Field(
        default=10_800.0, ge=1, le=604_800, description="when 80 % of so much sound does, that is an alarm"
    )
    raise_on: Literal["alarm", "changed"] = Field(
        default="alarm", description='"changed": condition 2 raises the alarm itself'
    )
    clear_ratio: float = Field(
        default=0.9, gt=0, le=1, description="hysteresis: cleared below this share of the threshold"
    )
    off_delay_s: NonNegative = Field(default=120.0, description="stream time below the clear level before the end")
    update_interval_s: Positive = Field(default=300.0, description="an active alarm repeats itself this often")
    cooldown_s: NonNegative = Field(default=0.0, description="no new alarm this soon after the last one's end")
    priority: int = Field(default=3, ge=1, le=4, description="1 = critical … 4 = low")

    @model_validator(mode="after")
    def _possible(self) -> AlarmSettings:
        m, n = self.raise_
        if not 1 <= m <= n <= 100:  # noqa: PLR2004 - a history of 100 disjoint windows is a quarter of an hour
            raise ValueError("raise = [m, n] needs 1 <= m <= n <= 100")
        if (self.threshold == "calibrated") != (self.threshold_generation is None):
            raise ValueError("a number as threshold needs threshold_generation, and only a number takes it")
        if self.alarm_after_s < self.changed_after_s:
            raise ValueError("alarm_after_s must not be below changed_after_s")
        return self


class GateSettings(Table):
    """`[machine.running]`: how to know that the machine is not running."""

    gate: Literal["learnt", "off"] | Annotated[float, Field(ge=-120, le=0)] = Field(
        default="learnt", description='"learnt" at enrolment, "off", or a level in dBFS'
    )
    settle_s: NonNegative = Field(default=10.0, description="after each start, not scored for this long")
    topic: Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_one_topic)] | None = Field(
        default=None, description="run or speed topic of the plant, full name; once it has spoken it outweighs the gate"
    )
    max_age_s: Positive | None = Field(
        default=None, description="what the topic said is believed for so long; default: until it says something else"
    )
    not_running_max_s: Positive | None = Field(
        default=None, description="a machine that has not run for so long is said to, once in the log; default: none"
    )
    running_above: Annotated[float, Field(allow_inf_nan=False)] = Field(
        default=0.5, description="a number on the topic above this means running, in the topic's unit"
    )


class MachineSettings(Table):
    """`[[machine]]`: one machine, one microphone channel."""

    name: Annotated[Segment, AfterValidator(_not_the_nodes)] = Field(description="topic segment")
    display_name: str | None = Field(default=None, max_length=80, description="for people")
    kind: str = Field(default="machine", max_length=40, description="pump, fan, gearbox, …")
    source: Source = Field(description='its kind: "microphone", "recording" or "simulator"')
    evidence: Literal["off", "features", "audio"] = Field(
        default="features", description="off; features: spectrogram and descriptors; audio: the sound as well"
    )
    alarm: AlarmSettings = AlarmSettings()
    running: GateSettings = GateSettings()

    @property
    def title(self) -> str:
        """Return the name for people."""
        return self.display_name or self.name
