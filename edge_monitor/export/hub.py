"""Published files from a hub that speaks Hugging Face's protocol: resumed where a download broke off, then checked."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from typing import TYPE_CHECKING, Any

from edge_monitor.errors import BundleError, BundleMismatchError, BundleMissingError, os_errors_as

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.encode.manifest import OriginFile

_TRIES = 5  # in a row without a single new byte
_TIMEOUT_S = 30.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Hub:
    """The hub at `endpoint` (default: $HF_ENDPOINT, then huggingface.co)."""

    def __init__(self, endpoint: str | None = None) -> None:
        # Its own transfer protocol neither resumes by bytes nor passes plain mirrors.
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
        try:
            import huggingface_hub
            from huggingface_hub.utils import logging
        except ImportError as error:
            raise BundleError(
                "the huggingface_hub package is missing", hint="`edge-monitor models pull` makes an environment with it"
            ) from error
        # It logs every failed try in many lines; what remains of them is raised. Its progress bars are not logged.
        logging.set_verbosity_error()
        self._hub: Any = huggingface_hub
        self.endpoint = endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"

    def described(self, file: OriginFile) -> OriginFile:
        """Return `file` with its size and SHA-256, from the recipe or, where that is silent, from the hub.

        Raises BundleMismatchError when both speak and differ, BundleMissingError when the hub cannot be asked.
        """
        url = self._hub.hf_hub_url(file.repository, file.path, revision=file.revision, endpoint=self.endpoint)
        try:
            found = self._hub.get_hf_file_metadata(url, timeout=_TIMEOUT_S, endpoint=self.endpoint)
        except Exception as error:  # the hub's exceptions are requests', OSErrors and its own
            raise self._unreachable(file, error) from error
        etag = str(found.etag or "")
        sha256 = etag if _SHA256.fullmatch(etag) else file.sha256  # small files carry another hash as their tag
        if sha256 is None or found.size is None:
            raise BundleMissingError("the hub names no SHA-256 and size for it", where=self._where(file))
        if file.sha256 not in {None, sha256} or file.size_bytes not in {None, found.size}:
            raise BundleMismatchError(
                f"the hub offers {found.size} bytes with SHA-256 {sha256[:12]}…, expected {file.size_bytes} with "
                f"{str(file.sha256)[:12]}…",
                where=self._where(file),
                hint="nothing was downloaded",
            )
        return file.model_copy(update={"size_bytes": found.size, "sha256": sha256})

    def fetch(self, file: OriginFile, folder: Path) -> Path:
        """Download a described file below `folder` and return its path; what is there already is not fetched again.

        A download that breaks off is resumed, now or by the next call. Raises BundleMissingError when it stays broken,
        BundleError on a full disk, BundleMismatchError for other bytes than described (which are deleted).
        """
        target = folder / file.repository
        path = target / file.path
        if not (path.is_file() and path.stat().st_size == file.size_bytes):
            path.unlink(missing_ok=True)  # of another revision, or damaged
            self._download(file, target)
        try:
            verify(path, file)
        except BundleMismatchError:
            path.unlink()
            raise
        return path

    def _download(self, file: OriginFile, target: Path) -> None:
        tries, before = 0, -1
        while True:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # it foresees a full disk; that is one line below, if it comes
                    self._hub.hf_hub_download(
                        file.repository, file.path, revision=file.revision, local_dir=target, endpoint=self.endpoint
                    )
            except Exception as error:  # as in `described`
                if isinstance(error, OSError) and error.errno is not None and not _is_network(error):
                    raise BundleError(
                        f"cannot be written: {error.strerror}",
                        where=str(target),
                        hint="make room or choose another --out",
                    ) from error
                done = sum(part.stat().st_size for part in target.rglob("*.incomplete"))
                tries = tries + 1 if done <= before else 1
                before = done
                if tries >= _TRIES:
                    raise self._unreachable(file, error, done) from error
            else:
                return

    def _unreachable(self, file: OriginFile, error: Exception, done_bytes: int = 0) -> BundleMissingError:
        kept = f"; {done_bytes / 1e6:.0f} of {(file.size_bytes or 0) / 1e6:.0f} MB are kept" if done_bytes else ""
        return BundleMissingError(
            f"cannot be downloaded: {_reason(error)}{kept}",
            where=self._where(file),
            hint="call again to go on, or use --from-file with copies",
        )

    def _where(self, file: OriginFile) -> str:
        return f"{self.endpoint}/{file.repository} {file.path}"


def _is_network(error: OSError) -> bool:
    """Say whether an OSError is one of requests', which are OSErrors too."""
    return type(error).__module__.partition(".")[0] in {"requests", "urllib3", "huggingface_hub"} or isinstance(
        error, ConnectionError | TimeoutError
    )


def _reason(error: Exception) -> str:
    """Return what went wrong: the system's own word at the bottom of a chain of exceptions, else the topmost's."""
    cause: BaseException = error
    while deeper := cause.__cause__ or cause.__context__:
        cause = deeper
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(error).strip().split("\n", 1)[0][:160]


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def measure(path: Path, file: OriginFile) -> int:
    """Return a local file's size, bytes.

    Raises BundleMissingError when there is none, BundleMismatchError when it is not its description's.
    """
    hint = f"it is {file.path} of {file.repository}"
    with os_errors_as(BundleMissingError, "cannot be read", where=path, hint=hint):
        size_bytes = path.stat().st_size
    if file.size_bytes not in {None, size_bytes}:
        raise BundleMismatchError(
            f"has {size_bytes} bytes, expected {file.size_bytes}", where=str(path), hint="get it again"
        )
    return size_bytes


def verify(path: Path, file: OriginFile) -> OriginFile:
    """Compare a local file with its description; return the description with what it left open filled in.

    Raises as `measure`, and BundleMismatchError for another hash.
    """
    size_bytes = measure(path, file)
    with os_errors_as(BundleMissingError, "cannot be read", where=path):
        sha256 = sha256_of(path)
    if file.sha256 not in {None, sha256}:
        raise BundleMismatchError(
            f"has SHA-256 {sha256[:12]}…, expected {str(file.sha256)[:12]}…", where=str(path), hint="get it again"
        )
    return file.model_copy(update={"size_bytes": size_bytes, "sha256": sha256})
