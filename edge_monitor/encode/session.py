"""An ONNX Runtime session over verified files of a bundle, and how vectors are normalized for it."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.encode.manifest import Normalize


def onnx_runtime() -> Any:  # noqa: ANN401 - onnxruntime ships no types
    """Return the onnxruntime module.

    Since 1.29 its Linux builds report model names, hashes and timings to their maker unless this variable is set before
    the import (microsoft/onnxruntime #27379). A plant's box reports to nobody.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # here, so that commands that do not encode start fast

    return onnxruntime


def open_session(bundle: Bundle, model: str, threads: int, *, keep_buffers: bool = False) -> Any:  # noqa: ANN401 - onnxruntime ships no types
    """Return a session over the bundle's file `model`, whose hash the caller has checked.

    ONNX Runtime opens it by path: a session that is given the bytes keeps them, the weights a second time (43 MB with
    MS-CLAP in int8). `keep_buffers` is for a session that runs again and again.
    Raises BundleError when it cannot be loaded.
    """
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would burn a core between windows, one second apart.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena keeps every buffer it ever needed. Without it, in a process that gives memory back at once, the system
    # clears pages for every run: encoders took 25 % (spectral) to 60 % (MS-CLAP, int8) longer, their peak 4 MB lower.
    options.enable_cpu_mem_arena = keep_buffers
    options.enable_mem_pattern = False  # one block for a whole run: 8 MB more with MS-CLAP in int8, and no faster
    options.log_severity_level = 3  # errors only; what is wrong is raised
    path = str(bundle.folder / model)
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no public base class
        raise BundleError(f"ONNX Runtime cannot load it: {first_line(error)}", where=path) from error


def run(session: Any, outputs: list[str], inputs: dict[str, NDArray[Any]], *, where: str) -> list[NDArray[Any]]:  # noqa: ANN401 - as above
    """Return the named outputs of a graph. Raises BundleError when it fails."""
    try:
        found: list[NDArray[Any]] = session.run(outputs, inputs)
    except Exception as error:  # as above
        raise BundleError(f"the model failed: {first_line(error)}", where=where) from error
    return found


def normalized(vectors: NDArray[np.float32], how: Normalize) -> NDArray[np.float32]:
    """Return raw vectors (…, dim) as a manifest's `normalize` says; a zero vector stays zero."""
    if how == "none":
        return vectors
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)


def first_line(error: Exception) -> str:
    """Return what an exception says, on one line."""
    return str(error).strip().split("\n", 1)[0][:200]


def trim_memory() -> None:
    """Have glibc return what was freed to the system; elsewhere the allocator does as it likes."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
