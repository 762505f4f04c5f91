"""A backup as a file: a plain tar of configuration, database and kept sound, its manifest last, every byte hashed."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_monitor.errors import StorageError, os_errors_as

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FORMAT = 2
MANIFEST, CONFIG, DATABASE = "backup.json", "edge-monitor.toml", "edge-monitor.db"
_DATABASES = {1: "memory.db", 2: DATABASE}  # by format; the first held normals and generations, and other tables empty
CHUNK_BYTES = 1 << 20
_AUDIO = re.compile(r"audio/([A-Za-z0-9_-]{1,64})/([0-9a-f]{64})\.flac")
_MOST_MANIFEST_BYTES = 64 << 20
_MOST_CONFIG_BYTES = 1 << 20  # it is read whole; ours have some kB


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class BackedUpMachine(_Model):
    """What a backup holds of one machine."""

    normals: int = Field(ge=0)  # in use
    generations: int = Field(ge=0)
    active: int | None  # the active generation's number
    bundle_hash: str | None  # which it was made with


class BackedUpFile(_Model):
    """One member of the tar."""

    size: int = Field(ge=0)  # bytes
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(_Model):
    """`backup.json`."""

    format: int
    made: str  # RFC 3339 UTC
    version: str  # of edge-monitor
    schema_version: int  # of the database
    site: str
    node: str
    bundle: str
    alarms: int = Field(default=0, ge=0)
    messages: int = Field(default=0, ge=0)  # that waited for the broker
    machines: dict[str, BackedUpMachine]
    files: dict[str, BackedUpFile] = Field(default_factory=dict)


class BackupWriter:
    """Adds members to a tar that is being written."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._files: dict[str, BackedUpFile] = {}

    def add(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """Add a member of `size` bytes as they come. Raises StorageError when they are not as many."""
        source = _Chunks(chunks)
        self._tar.addfile(_header(name, size), source)
        if source.read(1):
            raise _changed()
        self._files[name] = BackedUpFile(size=size, sha256=source.digest.hexdigest())

    def finish(self, manifest: Manifest) -> None:
        """Add the manifest with the hashes of all members; the last thing to do."""
        content = manifest.model_copy(update={"files": self._files}).model_dump_json(indent=1).encode()
        self._tar.addfile(_header(MANIFEST, len(content)), io.BytesIO(content))


@contextmanager
def write_backup(path: Path) -> Iterator[BackupWriter]:
    """Yield what fills the backup `path`, readable by its owner alone; it appears whole, verified, or not at all.

    Raises StorageError when it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    hint = "check the folder's owner and free space"
    with os_errors_as(StorageError, "the backup cannot be written", where=path, hint=hint):
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                    yield BackupWriter(tar)
                file.flush()
                os.fsync(file.fileno())
            with open_backup(part):
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup whose hashes are right."""

    manifest: Manifest
    _tar: tarfile.TarFile

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a member's bytes."""
        yield from _chunks_of(self._tar, name)

    @property
    def database(self) -> BackedUpFile:
        """Return the database's size and hash."""
        return self.manifest.files[_DATABASES[self.manifest.format]]

    def read_database(self) -> Iterator[bytes]:
        """Yield the database's bytes."""
        return self.read(_DATABASES[self.manifest.format])

    @property
    def audio(self) -> list[tuple[str, str]]:
        """Return (machine, SHA-256 of the recording) of each kept sound."""
        return [(found[1], found[2]) for name in sorted(self.manifest.files) if (found := _AUDIO.fullmatch(name))]


@contextmanager
def open_backup(path: Path) -> Iterator[Backup]:
    """Yield a backup once its manifest and every hash have been checked. Raises StorageError for anything else."""
    try:
        with tarfile.open(path, mode="r:") as tar:
            backup = Backup(_manifest(tar, path), tar)
            _verify(backup, path)
            yield backup
    except FileNotFoundError as error:
        raise StorageError("no such file", where=str(path)) from error
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror or 'it is damaged'}", where=str(path)) from error
    except tarfile.TarError as error:
        raise _unusable(path, "it is damaged, or another kind of file") from error


def audio_name(machine: str, sha256: str) -> str:
    """Return the member's name of a kept sound."""
    return f"audio/{machine}/{sha256}.flac"


def _manifest(tar: tarfile.TarFile, path: Path) -> Manifest:
    try:
        member = tar.getmember(MANIFEST)
    except KeyError as error:
        raise _unusable(path, f"it has no {MANIFEST}") from error
    if not member.isreg() or member.size > _MOST_MANIFEST_BYTES:
        raise _unusable(path, f"its {MANIFEST} is none")
    try:
        manifest = Manifest.model_validate_json(b"".join(_chunks_of(tar, MANIFEST)))
    except ValidationError as error:
        raise _unusable(path, f"its {MANIFEST} is none") from error
    if manifest.format > FORMAT:
        raise StorageError(
            f"a backup of edge-monitor {manifest.version}, in a newer form",
            where=str(path),
            hint="upgrade edge-monitor",
        )
    if manifest.format not in _DATABASES:
        raise _unusable(path, f"its {MANIFEST} is none")
    return manifest


def _verify(backup: Backup, path: Path) -> None:
    """Check that the tar holds what the manifest says, in plain files of known names, and nothing else."""
    members = backup._tar.getmembers()  # noqa: SLF001 - of this file's own class
    names = [member.name for member in members]
    files = backup.manifest.files
    wanted = {CONFIG, _DATABASES[backup.manifest.format]}
    if sorted(names) != sorted([*files, MANIFEST]) or not wanted <= set(files):
        raise _unusable(path, "its files are not those of its manifest")
    for member in members:
        if not member.isreg() or not (member.name in {*wanted, MANIFEST} or _AUDIO.fullmatch(member.name)):
            raise _unusable(path, f"{member.name[:80]!r} does not belong into one")
    if files[CONFIG].size > _MOST_CONFIG_BYTES:
        raise _unusable(path, f"its {CONFIG} is none")
    sizes = {member.name: member.size for member in members}
    for name, file in files.items():
        if sizes[name] != file.size:
            raise _unusable(path, f"{name} has another size than its manifest says")
        digest = hashlib.sha256()
        for chunk in backup.read(name):
            digest.update(chunk)
        if digest.hexdigest() != file.sha256:
            raise StorageError(f"{name} is damaged: wrong SHA-256", where=str(path), hint="use another backup")


def _chunks_of(tar: tarfile.TarFile, name: str) -> Iterator[bytes]:
    stream = tar.extractfile(name)
    while stream is not None and (chunk := stream.read(CHUNK_BYTES)):
        yield chunk


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o600, int(time.time())
    return header


def _unusable(path: Path, why: str) -> StorageError:
    return StorageError(f"not a whole backup: {why}", where=str(path), hint="use another one")


def _changed() -> StorageError:
    return StorageError("what is backed up changed while it was read", hint="try again")


class _Chunks(io.RawIOBase):
    """Reads an iterable of bytes as a file, counting and hashing."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, none at the end. Raises StorageError when it comes too early."""
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        piece, self._rest = self._rest[:size], self._rest[size:]
        if 1 < len(piece) < size:
            raise _changed()
        self.digest.update(piece)
        return piece
