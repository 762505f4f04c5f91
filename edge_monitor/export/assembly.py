"""The MS-CLAP bundle, put together from msclap's weights: every graph built, compared, written."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor import __version__
from edge_monitor.encode.manifest import Build, BundleFile
from edge_monitor.encode.session import onnx_runtime
from edge_monitor.encode.similarity import MOST_TEXT_TOKENS, require_text
from edge_monitor.errors import BundleError, os_errors_as
from edge_monitor.explain.difference import REFERENCE_TEXTS
from edge_monitor.export.comparison import check_audio, check_decoder, check_mapper, check_texts
from edge_monitor.export.gpt2 import decoder_model, mapper_model, text_encoder_model
from edge_monitor.export.htsat import audio_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_monitor.encode.manifest import Check, Manifest, OriginFile, Part
    from edge_monitor.export.reference import Reference

    Tokens = NDArray[np.int64]
    Array = NDArray[np.float32]

MADE_BY = f"edge-monitor {__version__}"
_END = " <|endoftext|>"  # what msclap's wrapper adds to every text


@dataclass(slots=True)
class Folder:
    """A folder that a bundle is written into; each file is on the disk when `write` returns."""

    path: Path
    files: list[BundleFile] = field(default_factory=list)

    def write(self, name: str, part: Part, content: bytes) -> None:
        """Write one file of the bundle. Raises BundleError when the disk cannot take it."""
        self._put(name, content)
        sha256 = hashlib.sha256(content).hexdigest()
        self.files.append(BundleFile(path=name, part=part, size_bytes=len(content), sha256=sha256))

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, which makes a bundle of the folder, naming the files that were written."""
        whole = manifest.model_copy(update={"file": tuple(self.files)})
        self._put("manifest.toml", manifest_text(whole).encode())

    def _put(self, name: str, content: bytes) -> None:
        path = self.path / name
        hint = "make room or choose another --out"
        with os_errors_as(BundleError, "cannot be written", where=path, hint=hint), path.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())


@dataclass(frozen=True, slots=True)
class VocabularyFiles:
    """GPT-2's published vocabulary files."""

    tokens: Path  # vocab.json: {token: id}
    merges: Path  # merges.txt: a comment, then one pair a line

    def bundled(self) -> bytes:
        """Return the bundle's vocabulary.json. Raises BundleError when the files are not GPT-2's kind."""
        try:
            ids: dict[str, int] = json.loads(self.tokens.read_text("utf-8"))
            lines = self.merges.read_text("utf-8").splitlines()
            tokens = sorted(ids, key=ids.__getitem__)
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise BundleError(f"is no vocabulary: {error}", where=str(self.tokens)) from error
        merges = [line for line in lines if line and not line.startswith("#version")]
        return json.dumps({"tokens": tokens, "merges": merges}, ensure_ascii=False, separators=(",", ":")).encode()

    def tokenized(self, texts: Sequence[str]) -> tuple[Tokens, Tokens]:
        """Return tokens and attention mask (text, 77) as msclap's wrapper makes them.

        Raises BundleError for a text that is empty or too long, which msclap would cut.
        """
        from transformers import GPT2Tokenizer

        tokenizer = GPT2Tokenizer(vocab_file=str(self.tokens), merges_file=str(self.merges))
        tokenizer.add_special_tokens({"pad_token": "!"})
        for text in texts:
            require_text(text, len(tokenizer.tokenize(text + _END)), where="--text")
        found = tokenizer(
            [text + _END for text in texts], max_length=MOST_TEXT_TOKENS, padding="max_length", return_tensors="np"
        )
        return found["input_ids"].astype(np.int64), found["attention_mask"].astype(np.int64)


def assemble(
    recipe: Manifest,
    origin: Sequence[OriginFile],
    reference: Reference,
    vocabulary: VocabularyFiles,
    folder: Path,
    *,
    texts: Sequence[str] = (),
    say: Callable[[str], None],
) -> None:
    """Build every part of the bundle into an empty `folder`, compared with `reference`; the manifest comes last.

    `origin` are the files it is built from, as they were verified; `texts` are embedded beside the paper's eight.
    Raises BundleMismatchError when a part differs from msclap, BundleError when the disk cannot take it.
    """
    out = Folder(folder)
    checks: list[Check] = []
    every = [*REFERENCE_TEXTS, *texts]
    tokens, mask = vocabulary.tokenized(every)

    say("audio encoder")
    htsat, projection = reference.weights("audio", "base.htsat."), reference.weights("audio", "projection.")
    content = audio_model(htsat, projection)
    heard, found = check_audio(_session(content), reference)
    checks += found
    out.write("audio.onnx", "audio", content)

    say("caption mapper")
    content = mapper_model(reference.weights("captioner", "clap_project."))
    checks += check_mapper(_session(content), reference, heard)
    out.write("mapper.onnx", "captions", content)

    say("caption decoder")
    content = decoder_model(reference.weights("captioner", "gpt.transformer."))
    checks += check_decoder(_session(content), reference, heard)
    out.write("decoder.onnx", "captions", content)
    out.write("vocabulary.json", "captions", vocabulary.bundled())

    say("text encoder")
    content = text_encoder_model(reference.weights("text", "base."), reference.weights("text", "projection."))
    (ours,) = _session(content).run(None, {"tokens": tokens})
    checks += check_texts(ours, reference.embed_texts(tokens, mask), heard)
    out.write("text.onnx", "text-similarity", content)
    rows = [{"text": text, "embedding": row.tolist()} for text, row in zip(every, ours, strict=True)]
    out.write("texts.json", "text-similarity", json.dumps({"texts": rows}, ensure_ascii=False).encode())

    if recipe.origin is None:
        raise BundleError("has no [origin]", where=recipe.name, hint="see models/msclap-2023/manifest.toml")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "msclap", "transformers", "onnx"))
    build = Build(
        made_with=f"{MADE_BY}, {packages}",
        caption_encoder=reference.caption_encoder,
        ignored=reference.ignored,
        check=tuple(checks),
    )
    provenance = recipe.origin.model_copy(update={"file": tuple(origin), "build": build})
    out.finish(recipe.model_copy(update={"origin": provenance}))


def _session(content: bytes) -> Any:  # noqa: ANN401 - an ONNX session
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def manifest_text(manifest: Manifest) -> str:
    """Return a manifest.toml that says what `manifest` says."""
    again = f"Build it again: {manifest.get}" if manifest.get else ""
    head = f"# Written by the command that built this bundle; it checks what is below. {again}\n"
    return head + "\n".join(_lines(manifest.model_dump(mode="json", exclude_none=True), "")) + "\n"


def _lines(fields: dict[str, Any], name: str) -> list[str]:
    """Return a table's lines: its own values, then the tables in it. JSON's values but tables are TOML's."""
    tables = {key: value for key, value in fields.items() if _is_table(value)}
    lines = [f"{key} = {json.dumps(fields[key], ensure_ascii=False)}" for key in fields if key not in tables]
    for key, value in tables.items():
        path = f"{name}.{key}" if name else key
        rows, head = (value, f"[[{path}]]") if isinstance(value, list) else ([value], f"[{path}]")
        for row in rows:
            lines += ["", head, *_lines(row, path)]
    return lines


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))
