"""ONNX Runtime, imported late and with its telemetry off."""

from __future__ import annotations

import os
from typing import Any


def onnx_runtime() -> Any:  # noqa: ANN401 - onnxruntime ships no types
    """Return the onnxruntime module.

    Since 1.29 its Linux builds report model names, hashes and timings to their maker unless this variable is set before
    the import (microsoft/onnxruntime #27379). A plant's box reports to nobody.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # here, so that commands that do not encode start fast

    return onnxruntime
