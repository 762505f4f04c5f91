"""edge-monitor.toml as validated, frozen settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from edge_monitor.config.machine import MachineSettings
from edge_monitor.config.table import SEGMENT, NonNegative, Positive, Segment, Table, WrittenPath, in_folder
from edge_monitor.errors import ConfigError

_HOST = r"[^\s@/]+"  # neither user name nor path: addresses are shown, and must hold no secret
# The ways to score a window; memory/scoring_methods.py says what each is.
ScorerName = Literal[
    "euclidean",
    "euclidean-unit",
    "standardized-euclidean",
    "local-density",
    "mahalanobis",
    "sub-band",
    "sub-band-density",
]
MAX_NORMALS = 5000  # 2 ms a window of 256 dimensions on one core; memory/coreset.py says what it costs


class NodeSettings(Table):
    """`[node]`: who this box is and where it keeps its state."""

    site: Segment = Field(description="plant or site, the first own topic segment")
    name: Segment = Field(description="this box, the second topic segment")
    state_dir: WrittenPath = Field(default=Path("/var/lib/edge-monitor"), description="database, index, evidence")
    runtime_dir: WrittenPath | None = Field(default=None, description="control socket; default: state_dir/run")


def _host(text: str) -> str:
    if not re.fullmatch(_HOST, text):
        raise ValueError("give a host name or address alone, without user name, password, scheme, path or blanks")
    return text


def _http(url: str) -> str:
    if not re.fullmatch(rf"https?://{_HOST}(/\S*)?", url):
        raise ValueError("give http:// or https://, host and path, without user name or password")
    return url


def _prefix(text: str) -> str:
    if not all(SEGMENT.fullmatch(part) for part in text.split("/")):
        raise ValueError("use segments of A-Z a-z 0-9 _ - separated by /")
    return text


def _bundle(text: str, info: ValidationInfo) -> str:
    return str(in_folder(Path(text), info)) if "/" in text else text


class ModelSettings(Table):
    """`[model]`: which encoder listens."""

    bundle: Annotated[str, Field(min_length=1), AfterValidator(_bundle)] = Field(
        default="spectral", description="a bundle's name, or a path to its folder"
    )
    scorer: ScorerName | None = Field(
        default=None, description="how windows are compared with the normals; default: the bundle's own way"
    )
    max_normals: int = Field(
        default=MAX_NORMALS,
        ge=500,
        le=1_000_000,
        description="a window is compared with so many normals at most",
    )
    hop_s: float = Field(default=1.0, ge=0.1, le=60, description="seconds from one window to the next")
    threads: int = Field(default=1, ge=1, le=64, description="encoder threads")
    caption_idle_s: Positive = Field(
        default=60.0, description="the caption decoder leaves memory after this long without a caption"
    )
    texts: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=(), strict=False, description="own texts that sounds are compared with, beside the bundle's"
    )


class TlsSettings(Table):
    """`[mqtt.tls]`: encryption and, with a client certificate, identity."""

    ca_file: WrittenPath | None = Field(default=None, description="CA certificates (PEM); default: the system's")
    cert_file: WrittenPath | None = Field(default=None, description="client certificate (PEM)")
    key_file: WrittenPath | None = Field(default=None, description="the client certificate's key (PEM)")

    @model_validator(mode="after")
    def _pair(self) -> TlsSettings:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class MqttSettings(Table):
    """`[mqtt]`: the broker. Without this table alerts are kept and shown, not sent."""

    host: Annotated[str, Field(min_length=1), AfterValidator(_host)] = Field(description="broker host name or address")
    port: int = Field(default=1883, ge=1, le=65535, description="1883, with TLS usually 8883")
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="MQTT version")
    client_id: str | None = Field(default=None, max_length=128, description="default: edge-monitor-{site}-{name}")
    keepalive_s: int = Field(default=30, ge=5, le=3600, description="seconds")
    topic_prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        default="edge-monitor/v1", description="what precedes {site}/{node} in every topic"
    )
    username: str | None = Field(default=None, description="user name")
    password: SecretStr | None = Field(default=None, description="better: password_file")
    password_file: WrittenPath | None = Field(default=None, description="file whose first line is the password")
    password_credential: str | None = Field(default=None, description="systemd credential (LoadCredential=) by name")
    tls: TlsSettings | None = Field(default=None, description="present = encrypted")
    score_interval_s: NonNegative = Field(
        default=10.0, description="at most one score message per machine in this time"
    )
    commands: tuple[Literal["inhibit", "resume", "learn"], ...] = Field(
        default=(), strict=False, description="what the plant may ask for over MQTT; see docs/scada.md"
    )
    outbox_max_rows: int = Field(default=100_000, ge=100, description="oldest rows go first, counted")
    outbox_max_mb: int = Field(default=256, ge=1, description="as outbox_max_rows, in MB")

    @model_validator(mode="after")
    def _one_password(self) -> MqttSettings:
        given = self.only_one("password", "password_file", "password_credential")
        if given and self.username is None:
            raise ValueError(f"{given} needs username")
        return self


class ExplainSettings(Table):
    """`[explain]`: who words how an alarm's sound differs. What is measured is told without any of this."""

    llm: Literal["off", "openai"] = Field(
        default="off", description='"openai": any server that speaks that protocol; captions and figures leave the box'
    )
    method: Literal["auto", "text-decoder", "zero-shot", "combination", "measured-worded"] = Field(
        default="auto", description='what the LLM is given; "auto": the most that the bundle can do'
    )
    model: str = Field(default="gpt-4o", min_length=1, description="the LLM's name at its server")
    base_url: Annotated[str, AfterValidator(_http)] | None = Field(
        default=None, description="default: OpenAI's; a server in the plant works as well"
    )
    api_key_file: WrittenPath | None = Field(default=None, description="file whose first line is the key")
    api_key_credential: str | None = Field(default=None, description="systemd credential (LoadCredential=) by name")
    api_key_env: str | None = Field(default=None, description="environment variable that holds the key")
    timeout_s: float = Field(default=30.0, ge=1, le=600, description="for one request")
    deadline_s: float = Field(
        default=120.0, ge=1, le=3600, description="for one attempt with its retries; the next one is made later"
    )
    requests_per_day: int = Field(default=100, ge=0, description="at most, UTC day")
    requests_per_alarm: int = Field(default=6, ge=1, le=100, description="at most, retries and those by hand included")
    expire_h: Positive = Field(default=336.0, description="after so many hours without an answer: unavailable")

    @model_validator(mode="after")
    def _one_key(self) -> ExplainSettings:
        given = self.only_one("api_key_file", "api_key_credential", "api_key_env")
        if self.llm != "off" and not given and self.base_url is None:
            raise ValueError('llm = "openai" needs api_key_file, api_key_credential or api_key_env, or a base_url')
        return self


class RetentionSettings(Table):
    """`[retention]`: how much is kept; the oldest go first, and each deletion is counted in the log."""

    evidence_max_mb: int = Field(default=500, ge=1, description="MB of evidence files")
    evidence_days: Positive = Field(default=90.0, description="age of evidence files, days")
    alarms_max_mb: int = Field(default=500, ge=1, description="MB of alarms with their windows")
    alarm_days: Positive = Field(default=3650.0, description="age of ended alarms, days")
    score_days: Positive = Field(default=90.0, description="age of the minute aggregates, days")
    history_days: Positive = Field(default=3650.0, description="age of the hourly and daily figures of scores, days")
    audio_max_mb: int = Field(
        default=2000, ge=1, description="MB of sound kept with --keep-audio; beyond it, no more is kept"
    )
    free_mb: int = Field(default=100, ge=0, description="evidence and kept sound stop below this free space, MB")


class MetricsSettings(Table):
    """`[metrics]`: figures for Prometheus over HTTP. Without this table none are served."""

    port: int = Field(ge=1, le=65535, description="TCP port, e.g. 9469")
    host: str = Field(
        default="127.0.0.1", min_length=1, description="address to listen at; whoever reaches it reads the figures"
    )


class Settings(Table):
    """The whole of edge-monitor.toml."""

    node: NodeSettings
    model: ModelSettings = ModelSettings()
    mqtt: MqttSettings | None = None
    machine: tuple[MachineSettings, ...] = Field(
        strict=False, min_length=1, description="describe each in a [[machine]] table, with two brackets"
    )
    explain: ExplainSettings = ExplainSettings()
    retention: RetentionSettings = RetentionSettings()
    metrics: MetricsSettings | None = None

    @field_validator("machine")
    @classmethod
    def _unique(cls, machines: tuple[MachineSettings, ...]) -> tuple[MachineSettings, ...]:
        names = [machine.name for machine in machines]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise PydanticCustomError(
                    "value_error", "two machines are named '{name}'", {"name": name, "at": (index, "name")}
                )
        return machines

    @model_validator(mode="after")
    def _broker_for_topics(self) -> Settings:
        for machine in self.machine:
            if machine.running.topic is not None and self.mqtt is None:
                raise ValueError(f"machine {machine.name!r} has running.topic, which needs an [mqtt] table")
        return self

    def named(self, name: str) -> MachineSettings:
        """Return the settings of a machine. Raises ConfigError when none has that name."""
        machines = {machine.name: machine for machine in self.machine}
        if name not in machines:
            hint = f"the configuration has {', '.join(machines)}"
            raise ConfigError(f"no machine is named {name!r}", where="--machine", hint=hint)
        return machines[name]
