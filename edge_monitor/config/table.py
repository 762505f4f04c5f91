"""What every table of edge-monitor.toml has in common, and the types of its values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNPRINTABLE = "has a character that cannot be printed: in TOML, \\ in double quotes starts an escape"


def _segment(text: str) -> str:
    if not SEGMENT.fullmatch(text):
        raise ValueError("use 1 to 64 of A-Z a-z 0-9 _ - (it becomes a topic segment)")
    return text


def in_folder(path: Path, info: ValidationInfo) -> Path:
    """Take a relative path from the folder of the file it stands in, the context; from elsewhere it stays as it is."""
    if info.context is None:
        return path
    if str(path).startswith("~"):  # a daemon has no home
        raise ValueError("~ is not expanded: write the whole path")
    return Path(info.context) / path


Segment = Annotated[str, AfterValidator(_segment)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
WrittenPath = Annotated[Path, Field(strict=False), AfterValidator(in_folder)]


class Table(BaseModel):
    """A table of the file: no key but its own, no value of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _printable(cls, table: object, info: ValidationInfo) -> object:
        """Refuse control characters in a file: no name, path or topic can hold one."""
        for key, value in table.items() if isinstance(table, dict) and info.context is not None else ():
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and not text.isprintable():
                    raise PydanticCustomError("value_error", _UNPRINTABLE, {"at": (key,)})
        return table

    def only_one(self, *keys: str) -> str | None:
        """Return which of these keys is given, None when none is. Raises ValueError when several are."""
        given = [key for key in keys if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of {' or '.join(given)}, not both")
        return given[0] if given else None
