"""What every table of edge-monitor.toml has in common, and the types of its values."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _segment(text: str) -> str:
    if not SEGMENT.fullmatch(text):
        raise ValueError("use 1 to 64 of A-Z a-z 0-9 _ - (it becomes a topic segment)")
    return text


Segment = Annotated[str, AfterValidator(_segment)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Table(BaseModel):
    """A table of the file: no key but its own, no value of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
