"""What the plant may ask for over MQTT: one model per command; whatever does not fit one is refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_monitor.deliver.payloads import Name, RequestId
from edge_monitor.errors import ControlError

MAX_BYTES = 4096  # ten times what a request needs
LONGEST_S = 24 * 3600.0
_LONGEST_VALID_MS = 24 * 3600 * 1000
_SKEW_MS = 60_000  # how far the asker's clock may be ahead of the node's
_LAST_MOMENT_MS = 253_402_300_799_999  # the end of the year 9999
Moment = Annotated[int, Field(ge=0, le=_LAST_MOMENT_MS)]
Duration = Annotated[float, Field(gt=0, le=LONGEST_S)]


class Request(BaseModel):
    """What every request says."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    schema_version: Literal[1] = Field(default=1, description="contract version")
    request_id: RequestId = Field(description="chosen by the asker, once; the reply repeats it")
    machine: Name = Field(description="the machine's topic segment")
    issued_at_ms: Moment = Field(description="when it was asked, milliseconds since 1970-01-01 UTC")
    expires_at_ms: Moment = Field(description="not to be obeyed from then on; at most 24 hours after issued_at_ms")

    @model_validator(mode="after")
    def _expires_in_time(self) -> Request:
        if not 0 < self.expires_at_ms - self.issued_at_ms <= _LONGEST_VALID_MS:
            raise ValueError("expires_at_ms is not within 24 hours after issued_at_ms")
        return self


class InhibitRequest(Request):
    """Raise no new alarm of a machine for a while. A later one replaces it."""

    duration_s: Duration = Field(description="for so long from now on, seconds")


class ResumeRequest(Request):
    """Raise alarms again."""


class LearnRequest(Request):
    """Learn the sound of the coming time as normal. Alarms are not raised meanwhile; a new generation follows."""

    duration_s: Duration = Field(description="so much sound, seconds")


REQUESTS: dict[str, type[Request]] = {"inhibit": InhibitRequest, "resume": ResumeRequest, "learn": LearnRequest}


class _Asker(BaseModel):
    """Who asked, in a request that may be wrong in all else."""

    request_id: RequestId


def request_id_of(payload: bytes) -> str | None:
    """Return the id of a request, so that even a refusal finds its asker; None when there is none to be found."""
    try:
        return _Asker.model_validate_json(payload[: MAX_BYTES + 1]).request_id
    except ValidationError:
        return None


def read_request(command: str, payload: bytes, *, now_ms: int) -> Request:
    """Return the request in a payload; `now_ms`, wall clock in milliseconds, decides whether it still holds.

    Raises ControlError, in one line that repeats none of the payload's values.
    """
    if len(payload) > MAX_BYTES:
        raise ControlError(f"a request has at most {MAX_BYTES} bytes")
    try:
        request = REQUESTS[command].model_validate_json(payload)
    except ValidationError as error:
        raise ControlError(_first(error)) from None
    if now_ms >= request.expires_at_ms:
        raise ControlError("the request has expired")
    if request.issued_at_ms > now_ms + _SKEW_MS:
        raise ControlError("the request comes from the future: the clocks differ")
    return request


def _first(error: ValidationError) -> str:
    wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if wrong["type"] == "extra_forbidden":
        return "it has a field that this command does not know"
    if wrong["type"] == "json_invalid":
        return "it is not JSON"
    where = ".".join(str(part) for part in wrong["loc"])
    return f"{where}: {wrong['msg']}" if where else wrong["msg"]
