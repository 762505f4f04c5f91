"""The manifest of a model bundle: what manifest.toml says, validated."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from edge_monitor.config.settings import ScorerName
from edge_monitor.errors import BundleError, BundleMissingError

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST_NAME = "manifest.toml"
_MAX_BYTES = 1 << 20
_WHOLE = 1e-6  # samples; what floating point may add to a product that is whole

Ability = Literal["audio", "captions", "text-similarity"]
Metric = Literal["euclidean", "standardized-euclidean"]
Normalize = Literal["none", "unit"]
Part = Ability  # which ability a file serves
Role = Literal["encoder", "captioner", "tokens", "merges"]


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


class BundleFile(Table):
    """One file of the bundle. A recipe, whose files are still to be built, gives neither size nor hash."""

    path: FileName  # relative to the manifest
    part: Part = "audio"  # the ability this file serves
    size_bytes: int | None = Field(default=None, gt=0)
    sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _size_and_hash_go_together(self) -> Self:
        if (self.size_bytes is None) != (self.sha256 is None):
            raise ValueError("needs both size_bytes and sha256, or neither for a file that is still to be built")
        return self


class AudioPart(Table):
    """The audio encoder: mono float32 `(batch, samples)`, full scale ±1, to float32 `(batch, dim)`."""

    file: FileName
    input: str = Field(min_length=1)  # name of the graph's input
    output: str = Field(min_length=1)  # name of the graph's output
    sample_rate_hz: int = Field(ge=1_000, le=384_000)
    window_s: float = Field(gt=0.0, le=600.0)
    dim: int = Field(ge=1, le=65_536)
    short_input: Literal["repeat"] = "repeat"  # input shorter than the window is repeated up to it

    @model_validator(mode="after")
    def _window_is_whole_samples(self) -> Self:
        samples = self.window_s * self.sample_rate_hz
        if abs(samples - round(samples)) > _WHOLE or round(samples) < 1:
            raise ValueError("window_s x sample_rate_hz must be a whole number of samples")
        return self

    @property
    def window_samples(self) -> int:
        """Return the samples per window."""
        return round(self.window_s * self.sample_rate_hz)


class FloorBlock(Table):
    """The standardization floor of the next `dims` dimensions."""

    dims: int = Field(ge=1)
    floor: float = Field(gt=0.0, allow_inf_nan=False)  # in the embedding's own unit


class Scoring(Table):
    """How distances between raw vectors become a score."""

    metric: Metric
    # Added to each dimension's standard deviation over the normals, in the embedding's own unit.
    standardization_floor: Annotated[
        Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | tuple[FloorBlock, ...] | None, BeforeValidator(tuple_of)
    ] = None
    normalize: Normalize

    @model_validator(mode="after")
    def _floor_belongs_to_the_metric(self) -> Self:
        if (self.metric == "standardized-euclidean") != (self.standardization_floor is not None):
            raise ValueError("standardization_floor goes with metric = 'standardized-euclidean', and only with it")
        return self

    @property
    def floor_of_each(self) -> float | tuple[float, ...] | None:
        """Return the floor: one for all dimensions, one each, or None."""
        given = self.standardization_floor
        if isinstance(given, tuple):
            return tuple(block.floor for block in given for _ in range(block.dims))
        return given


class EnvelopeBlock(Table):
    """The last block of the vectors: of the spectrum of each band's envelope, one value for each range of rates."""

    bands: int = Field(ge=1)  # equally wide in mel
    low_hz: float = Field(ge=0.0, allow_inf_nan=False)  # outer corner of the lowest band
    high_hz: float = Field(gt=0.0, allow_inf_nan=False)  # outer corner of the highest band
    rates_hz: Annotated[tuple[float, ...], Field(min_length=2), BeforeValidator(tuple_of)]  # corners, slow to fast

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if not self.low_hz < self.high_hz or any(not a < b for a, b in pairwise(self.rates_hz)):
            raise ValueError("low_hz to high_hz and rates_hz must ascend")
        return self

    @property
    def values(self) -> int:
        """Return how many values the block has: low bands first, in each band slow rates first."""
        return self.bands * (len(self.rates_hz) - 1)


class OwnScoring(Table):
    """Which scoring method is this bundle's own, and what methods must know of its vectors. It decides no vector."""

    name: ScorerName | None = None  # None: eq. 1 in the metric
    bands: int | None = Field(default=None, ge=1)  # vectors are blocks of that many frequency bands, low to high
    envelope: EnvelopeBlock | None = None  # the last block, shorter than the others; None: there is none


class Captions(Table):
    """How a vector becomes words: mapper and decoder graphs, and the decoder's vocabulary (docs/msclap.md)."""

    normalize: Normalize  # of the raw vector, before the mapper
    mapper: FileName
    decoder: FileName
    vocabulary: FileName
    stop_id: int = Field(ge=0)  # the token that ends a caption


class Similarity(Table):
    """How a vector is compared with texts: their embeddings, and optionally the encoder for further ones."""

    normalize: Normalize  # of the raw vector and of the texts' raw vectors, before their product
    texts: FileName
    text_encoder: FileName | None = None
    vocabulary: FileName | None = None  # of the text encoder

    @model_validator(mode="after")
    def _an_encoder_needs_its_vocabulary(self) -> Self:
        if (self.text_encoder is None) != (self.vocabulary is None):
            raise ValueError("text_encoder and vocabulary go together")
        return self


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


class Manifest(Table):
    """What a bundle's manifest.toml says. Vectors are stored raw; each use normalizes as stated here."""

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")
    version: str = Field(min_length=1, max_length=64)
    summary: str = Field(default="", max_length=300)
    licence: str = Field(min_length=1)
    source: str = Field(min_length=1)  # where the model comes from: URL or path
    revision: str = Field(min_length=1)  # of the source
    abilities: Annotated[tuple[Ability, ...], Field(min_length=1), BeforeValidator(tuple_of)]
    get: str | None = Field(default=None, max_length=200)  # the command that makes missing files
    # Bundles that this one replaces, by name. A node that learnt with one of them goes on with it.
    supersedes: Annotated[tuple[str, ...], BeforeValidator(tuple_of)] = ()
    audio: AudioPart
    scoring: Scoring
    scorer: OwnScoring = OwnScoring()
    captions: Captions | None = None
    similarity: Similarity | None = None
    origin: Origin | None = None  # where built files come from; decides nothing
    file: Annotated[tuple[BundleFile, ...], Field(min_length=1), BeforeValidator(tuple_of)]

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if "audio" not in self.abilities:
            raise ValueError("abilities must name 'audio': every bundle encodes sound")
        for ability, table, part in (
            ("captions", "captions", self.captions),
            ("text-similarity", "similarity", self.similarity),
        ):
            if (ability in self.abilities) != (part is not None):
                raise ValueError(f"ability '{ability}' and table [{table}] go together")
        paths = [file.path for file in self.file]
        if len(set(paths)) != len(paths):
            raise ValueError("[[file]] names a path twice")
        for table, named in (("captions", self.captions), ("similarity", self.similarity)):
            for key in ("mapper", "decoder", "vocabulary", "texts", "text_encoder"):
                path = getattr(named, key, None)
                if path is not None and path not in paths:
                    raise ValueError(f"[[file]] with path = '{path}' is missing, {table}.{key} names it")
        if self.audio.file not in {file.path for file in self.file if file.part == "audio"}:
            raise ValueError(f"[[file]] with path = '{self.audio.file}' and part = 'audio' is missing")
        floor = self.scoring.standardization_floor
        if isinstance(floor, tuple) and sum(block.dims for block in floor) != self.audio.dim:
            raise ValueError(f"the dims of standardization_floor must add up to {self.audio.dim}")
        return self

    @model_validator(mode="after")
    def _bands_fit(self) -> Self:
        name, bands, envelope = self.scorer.name, self.scorer.bands, self.scorer.envelope
        if envelope is not None and not (bands and envelope.values < bands):
            raise ValueError("scorer.envelope goes with scorer.bands, and has fewer values than those")
        blocks = self.audio.dim - (envelope.values if envelope else 0)
        if bands is not None and (blocks < bands or blocks % bands):
            raise ValueError(f"scorer.bands must divide {blocks}, the dimension{' less the envelope' * bool(envelope)}")
        if bands is None and name in {"sub-band", "sub-band-density"}:
            raise ValueError(f"scorer.name = '{name}' needs scorer.bands")
        return self

    def files_of(self, part: Part) -> tuple[BundleFile, ...]:
        """Return the files that serve one ability."""
        return tuple(file for file in self.file if file.part == part)

    @property
    def bundle_hash(self) -> str:
        """Return the hex SHA-256 of what decides a score: the audio part's files and fields, and how it is scored.

        Renaming a bundle, or changing its captions, leaves it as it is. It stamps every stored vector.
        """
        identity = {
            "audio": self.audio.model_dump(mode="json"),
            "files": sorted([file.path, file.sha256] for file in self.files_of("audio")),
            "scoring": self.scoring.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def parse_manifest(text: str, *, where: str) -> Manifest:
    """Return the manifest that `text` holds. Raises BundleError, one line with file, key and what is wrong."""
    try:
        return Manifest.model_validate(tomllib.loads(text))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A misspelt key is also a missing one: what a person finds in the file comes first, but after the version.
        errors.sort(key=lambda each: (each["loc"] != ("schema_version",), each["type"] != "extra_forbidden"))
        first = errors[0]
        key = ".".join(str(part) for part in first["loc"])
        message = "unknown key" if first["type"] == "extra_forbidden" else str(first["msg"])
        message = message.removeprefix("Value error, ")
        raise BundleError(
            f"{key}: {message}" if key else message, where=where, hint="correct the manifest; see docs/bundles.md"
        ) from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and what else breaks the parser
        raise BundleError(f"not valid TOML: {error}", where=where, hint="see docs/bundles.md") from error


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest in `folder`. Raises BundleMissingError when there is none, BundleError when it is wrong."""
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        text = content.decode("utf-8")
    except FileNotFoundError as error:
        raise BundleMissingError(
            f"no {MANIFEST_NAME}", where=str(folder), hint="a bundle is a folder with a manifest"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(f"cannot be read: {reason}", where=str(path), hint="check the file and its rights") from error
    if len(content) > _MAX_BYTES:
        raise BundleError("is larger than 1 MB", where=str(path), hint="is it a manifest?")
    return parse_manifest(text, where=str(path))
