"""Where a built bundle's weights come from, and what was checked when it was built: the manifest's [origin]."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from edge_monitor.encode.table import Sha256, Table, tuple_of

Role = Literal["encoder", "captioner", "tokens", "merges"]


class OriginFile(Table):
    """A published file that the bundle is built from, on a hub that speaks Hugging Face's protocol."""

    role: Role
    repository: str = Field(pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")  # a commit, so that nobody can exchange the file
    path: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$")  # in the repository
    # In a recipe they may be missing: then the hub's own word at the revision is taken, and recorded.
    size_bytes: int | None = Field(default=None, gt=0)
    sha256: Sha256 | None = None


class Check(Table):
    """One comparison of a built graph with the model it was built from."""

    part: str  # the file that was checked
    sounds: str  # what was put in
    max_abs: float = Field(ge=0.0)  # largest absolute difference, in the output's own unit
    cosine: float = Field(ge=-1.0, le=1.0)  # smallest cosine between the two outputs, over all rows


class Build(Table):
    """How this copy was built. Written by the export, never by hand."""

    made_with: str  # versions
    # Whether the captioner's checkpoint brought the very audio encoder that is scored with.
    caption_encoder: Literal["equal", "different", "absent"]
    ignored: Annotated[tuple[str, ...], BeforeValidator(tuple_of)] = ()  # what of the checkpoints was not used
    check: Annotated[tuple[Check, ...], BeforeValidator(tuple_of)] = ()


class Origin(Table):
    """The published files, and the build when there was one."""

    weights: Literal["published", "random"] = "published"  # random ones are made by tests and mean nothing
    file: Annotated[tuple[OriginFile, ...], Field(min_length=1), BeforeValidator(tuple_of)]
    build: Build | None = None  # None in a recipe
