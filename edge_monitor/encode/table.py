"""What the manifest's tables share: strictness, and the names of files inside a bundle."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _inside_the_bundle(path: str) -> str:
    """Refuse a file name that could point outside the bundle's folder."""
    parts = PurePosixPath(path).parts
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]*", path) or ".." in parts:
        raise ValueError("must be a relative file name inside the bundle, of letters, digits, '_', '-', '.' and '/'")
    return path


def tuple_of(value: object) -> object:
    """Turn TOML's list into a tuple, which nobody can change."""
    return tuple(value) if isinstance(value, list) else value


FileName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_inside_the_bundle)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Table(BaseModel):
    """A table of the manifest: unknown keys are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
