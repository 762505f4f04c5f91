"""A model bundle on disk: where bundles are looked for, what state their files are in, what they can do."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor.encode.manifest import MANIFEST_NAME, read_manifest
from edge_monitor.errors import BundleError, BundleMismatchError, BundleMissingError, os_errors_as

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from edge_monitor.encode.manifest import Ability, BundleFile, Manifest, Part
    from edge_monitor.records import Embedding

SYSTEM_MODELS = Path("/usr/share/edge-monitor/models")
_PACKAGE = Path(__file__).resolve().parent.parent
_CANNOT: dict[Ability, str] = {
    "audio": "does not encode sound",
    "captions": "does not write captions",
    "text-similarity": "does not compare sound with texts",
}


class BundleStatus(Enum):
    """What can be said about a bundle without loading it."""

    READY = "ready"  # every file is there with its size; `verify` checks the hashes
    MISSING = "missing"  # a manifest whose files are not there, or not built yet
    DAMAGED = "damaged"  # a file's size differs from the manifest
    INVALID = "invalid"  # the manifest itself is wrong


@dataclass(frozen=True, slots=True)
class Bundle:
    """A folder with a valid manifest. Its files may still be missing or damaged: `check` and `verify` say."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """Return the bundle's name."""
        return self.manifest.name

    @property
    def bundle_hash(self) -> str:
        """Return the hex SHA-256 that stamps vectors; see Manifest.bundle_hash."""
        return self.manifest.bundle_hash

    def path_of(self, file: BundleFile) -> Path:
        """Return where a file lies. Raises BundleError when a symbolic link leads out of the folder."""
        path = self.folder / file.path
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise BundleError(f"{file.path} leads out of the bundle", where=str(self.folder), hint="remove the link")
        return path

    def check(self, part: Part | None = None) -> None:
        """Check that the files (of one part) are there with their sizes; hashes are not read.

        Raises BundleMissingError with the command that gets them, BundleMismatchError on a different size.
        """
        for file in self.manifest.file if part is None else self.manifest.files_of(part):
            self._check_size(file)

    def verify(self, part: Part | None = None) -> None:
        """Check sizes and SHA-256 of every file (of one part). Raises as `check`, and on a different hash."""
        for file in self.manifest.file if part is None else self.manifest.files_of(part):
            self.verify_file(file)

    def verify_file(self, file: BundleFile) -> None:
        """Check one file's size and SHA-256. Raises as `verify`."""
        self._check_size(file)
        with self._readable(file), self.path_of(file).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        self._compare_hash(file, digest.hexdigest())

    def require_own(self, embedding: Embedding, hint: str | None = None) -> None:
        """Check that an embedding was made by this bundle. Raises BundleMismatchError."""
        if embedding.bundle_hash != self.bundle_hash:
            raise BundleMismatchError(
                f"an embedding of another bundle: {embedding.bundle_hash[:12]}, not {self.bundle_hash[:12]}",
                where=self.name,
                hint=hint,
            )

    def file(self, path: str) -> BundleFile:
        """Return the `[[file]]` of a path that another table of the manifest names."""
        return next(file for file in self.manifest.file if file.path == path)

    def read_verified(self, file: BundleFile) -> bytes:
        """Return a file's bytes, the very ones whose size and hash were checked. Raises as `verify`."""
        self._check_size(file)
        with self._readable(file):
            content = self.path_of(file).read_bytes()
        self._compare_hash(file, hashlib.sha256(content).hexdigest())
        return content

    def _check_size(self, file: BundleFile) -> None:
        if file.sha256 is None:
            hint = f"get it with `{self.manifest.get}`" if self.manifest.get else None
            raise BundleMissingError(f"{file.path} is not built yet", where=str(self.folder), hint=hint)
        with self._readable(file):
            try:
                size_bytes = self.path_of(file).stat().st_size
            except FileNotFoundError as error:
                raise self._spoilt(BundleMissingError, f"{file.path} is missing") from error
        if size_bytes != file.size_bytes:
            said = f"{file.path} has {size_bytes} bytes, the manifest says {file.size_bytes}"
            raise self._spoilt(BundleMismatchError, said)

    def _compare_hash(self, file: BundleFile, sha256: str) -> None:
        if sha256 != file.sha256:
            said = f"{file.path} has SHA-256 {sha256[:12]}…, the manifest says {str(file.sha256)[:12]}…"
            raise self._spoilt(BundleMismatchError, said)

    def _readable(self, file: BundleFile) -> AbstractContextManager[None]:
        """Have an OSError of the body raised as BundleError."""
        return os_errors_as(BundleError, f"{file.path} cannot be read", where=self.folder, hint="check its rights")

    def _spoilt(self, kind: type[BundleError], message: str) -> BundleError:
        """Return the error of a file that is missing or damaged, with what helps."""
        again = "copy the bundle again from its source"
        hint = f"{again}, or get it with `{self.manifest.get}`" if self.manifest.get else again
        return kind(message, where=str(self.folder), hint=hint)


@dataclass(frozen=True, slots=True)
class BundleListing:
    """One line of `models list`."""

    name: str
    folder: Path
    status: BundleStatus
    detail: str  # what is wrong and what to do; empty when ready
    bundle: Bundle | None  # None when the manifest is invalid
    shadowed: bool  # True: a bundle of this name was found earlier in the search order and wins

    @property
    def is_recipe(self) -> bool:
        """Return whether the bundle's files are still to be built on this machine."""
        return self.bundle is not None and all(file.sha256 is None for file in self.bundle.manifest.file)


def open_bundle(folder: Path) -> Bundle:
    """Return the bundle in a folder. Raises BundleMissingError or BundleError when its manifest cannot be used."""
    return Bundle(folder=folder, manifest=read_manifest(folder))


def search_folders(state_dir: Path | None = None) -> tuple[Path, ...]:
    """Return the folders that hold bundles, first wins: the node's own, the system's, those shipped with the code."""
    # A wheel carries `_models`; in a checkout the same folders lie beside the package.
    packaged = _PACKAGE / "_models"
    shipped = packaged if packaged.is_dir() else _PACKAGE.parent / "models"
    own = () if state_dir is None else (state_dir / "models",)
    return (*own, SYSTEM_MODELS, shipped)


def list_bundles(state_dir: Path | None = None) -> tuple[BundleListing, ...]:
    """Return every bundle in the search folders, in search order, whatever its state."""
    listings: list[BundleListing] = []
    for models in search_folders(state_dir):
        try:
            folders = sorted(filter(_is_bundle, models.iterdir()))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except OSError as error:
            raise BundleError(f"cannot be listed: {error.strerror or error}", where=str(models)) from error
        for folder in folders:
            shadowed = any(listing.name == folder.name for listing in listings)
            listings.append(_listing(folder, shadowed=shadowed))
    return tuple(listings)


def find_bundle(name: str, state_dir: Path | None = None, base: Path | None = None) -> Bundle:
    """Return the bundle that `name` means: a path (with a slash, relative to `base`), or a name in the search folders.

    Its files are not checked yet. Raises BundleMissingError with the names there are, BundleError for a wrong manifest.
    """
    if "/" in name or name in {".", ".."}:
        return open_bundle((base or Path()) / Path(name).expanduser())
    closed = ""
    for models in search_folders(state_dir):
        try:
            if _is_bundle(models / name):
                return _open_named(models / name)
        except PermissionError:  # a node's own state, asked for by a member of its group
            closed = f"; {models} cannot be read"
    known = sorted({listing.name for listing in list_bundles(state_dir)})
    hint = f"there are: {', '.join(known) or 'none'}; a path must contain a slash{closed}"
    raise BundleMissingError(f"no bundle named {name!r}", hint=hint)


def require_ability(bundle: Bundle, ability: Ability, state_dir: Path | None = None) -> None:
    """Check that a bundle has an ability. Raises BundleError that names the bundles that have it."""
    if ability in bundle.manifest.abilities:
        return
    able = [
        listing
        for listing in list_bundles(state_dir)
        if not listing.shadowed and listing.bundle is not None and ability in listing.bundle.manifest.abilities
    ]
    ready = [listing.name for listing in able if listing.status is BundleStatus.READY]
    if ready:
        hint = f"{', '.join(ready)} {'does' if len(ready) == 1 else 'do'}"
    elif able and able[0].bundle and able[0].bundle.manifest.get:
        hint = f"{able[0].name} does, once it is there: `{able[0].bundle.manifest.get}`"
    else:
        hint = "no bundle that is installed does"
    raise BundleError(f"the bundle {_CANNOT[ability]}", where=bundle.name, hint=hint)


def _is_bundle(folder: Path) -> bool:
    """Return whether a folder has a manifest, or may not be looked into; that is told when it is opened.

    Raises PermissionError when the folder that holds it may not be looked into.
    """
    try:
        return stat.S_ISREG((folder / MANIFEST_NAME).stat().st_mode)
    except PermissionError:
        return stat.S_ISDIR(folder.stat().st_mode)
    except OSError:  # there is none
        return False


def _open_named(folder: Path) -> Bundle:
    """Open a bundle that is known by its folder's name, which the manifest must share."""
    bundle = open_bundle(folder)
    if bundle.name != folder.name:
        raise BundleError(
            f"name: is {bundle.name!r}, the folder is {folder.name!r}",
            where=str(folder / MANIFEST_NAME),
            hint="give both the same name",
        )
    return bundle


def _listing(folder: Path, *, shadowed: bool) -> BundleListing:
    bundle: Bundle | None = None
    status, detail = BundleStatus.READY, ""
    try:
        bundle = _open_named(folder)
        bundle.check()
    except BundleError as error:
        wrong = {BundleMissingError: BundleStatus.MISSING, BundleMismatchError: BundleStatus.DAMAGED}
        status, detail = wrong.get(type(error), BundleStatus.INVALID), str(error)
    return BundleListing(folder.name, folder, status, detail, bundle, shadowed)
