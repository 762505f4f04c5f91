"""The index on disk: a cache, believed only when its checksum and what it was built from both match."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from edge_monitor.durable import replacing
from edge_monitor.memory.index import PARAMETERS, HnswIndex

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class _Sidecar:
    """What must be true of the index file before hnswlib may read it."""

    format: int
    key: str  # hex SHA-256 of what the index was built from
    sha256: str  # hex, of the index file
    ef: int
    error: float  # largest relative score error when it was verified


@dataclass(frozen=True, slots=True)
class IndexFile:
    """The cache file of one generation: `{state_dir}/index/{machine}-{number}.hnsw` and its `.json` beside it."""

    folder: Path
    machine: str
    number: int

    @property
    def path(self) -> Path:
        """Return the index file's path."""
        return self.folder / f"{self.machine}-{self.number}.hnsw"

    @property
    def sidecar(self) -> Path:
        """Return the path of its checksum and key."""
        return self.path.with_suffix(".hnsw.json")

    def load(self, vectors: NDArray[np.float32]) -> HnswIndex | str:
        """Return the index over these vectors, (n, dim), or why the file cannot be it: missing, stale or damaged."""
        try:
            stored = _Sidecar(**json.loads(self.sidecar.read_bytes()))
            digest = _sha256(self.path)
        except FileNotFoundError:
            return "missing"
        except (OSError, ValueError, TypeError) as error:
            return f"damaged: {error}"
        if stored.format != _FORMAT or stored.key != self._key(vectors):
            return "stale"
        if stored.sha256 != digest:
            return "damaged: wrong checksum"
        try:
            return HnswIndex.load(self.path, dim=vectors.shape[1], count=len(vectors), ef=stored.ef, error=stored.error)
        except RuntimeError as error:
            return f"damaged: {error}"

    def save(self, index: HnswIndex, vectors: NDArray[np.float32]) -> None:
        """Store an index built from these vectors, and drop the files of the machine's other generations.

        Each file is written beside, synced and renamed; the sidecar last. Raises OSError.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as fresh:
            index.save(fresh)
            sidecar = _Sidecar(_FORMAT, self._key(vectors), _sha256(fresh), index.ef, index.error)
        with replacing(self.sidecar) as fresh:
            fresh.write_text(json.dumps(asdict(sidecar)))
        others = re.compile(rf"{re.escape(self.machine)}-(\d+)\.(hnsw|json)(\.json)?(\.new)?")
        for path in self.folder.iterdir():
            match = others.fullmatch(path.name)
            if match and int(match[1]) != self.number:
                path.unlink(missing_ok=True)

    def _key(self, vectors: NDArray[np.float32]) -> str:
        head = f"{PARAMETERS}|{self.machine}|{self.number}|{vectors.shape}|"
        return hashlib.sha256(head.encode() + vectors.astype("<f4").tobytes()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
