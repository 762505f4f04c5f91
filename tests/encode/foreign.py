"""A foreign bundle: another rate, window and dimension than the shipped one, made on the spot."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = """\
schema_version = 1
name = "foreign"
version = "0.3"
licence = "CC0-1.0"
source = "https://example.org/foreign"
revision = "abc123"
abilities = ["audio"]
get = "fetch-foreign --all"

[audio]
file = "net/encoder.onnx"
input = "audio"
output = "thirds"
sample_rate_hz = 8000
window_s = 1.5
dim = 3
short_input = "repeat"

[scoring]
metric = "euclidean"
normalize = "unit"

[[file]]
path = "net/encoder.onnx"
part = "audio"
size_bytes = {size}
sha256 = "{sha256}"
"""


def thirds_model(
    *, batch: str | int = "batch", dtype: int = TensorProto.FLOAT, reduce: str = "ReduceMean", op: str = "Identity"
) -> bytes:
    """Return an ONNX file that maps (batch, 12000) to `op` of the means of its three thirds (batch, 3)."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [-1, 3, 4000])
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["audio", "shape"], ["split"]),
            helper.make_node(reduce, ["split"], ["means"], axes=[2], keepdims=0),
            helper.make_node(op, ["means"], ["thirds"]),
        ],
        "thirds",
        [helper.make_tensor_value_info("audio", dtype, [batch, "samples"])],
        [helper.make_tensor_value_info("thirds", dtype, [batch, 3])],
        [shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@dataclass(frozen=True, slots=True)
class ForeignBundle:
    """Writes the foreign bundle, whole or spoilt, into a folder."""

    folder: Path

    def write(self, *, model: bytes | None = None, old: str = "", new: str = "") -> Path:
        """Write model and manifest, the manifest with `old` replaced by `new`; return the folder."""
        content = thirds_model() if model is None else model
        (self.folder / "net").mkdir(parents=True, exist_ok=True)
        (self.folder / "net/encoder.onnx").write_bytes(content)
        text = MANIFEST.format(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        assert old in text
        (self.folder / "manifest.toml").write_text(text.replace(old, new) if old else text)
        return self.folder
