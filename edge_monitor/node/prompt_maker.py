"""What an LLM is told of a sound, method by method: captions, similarities and measured figures, never the sound."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.encode.bundle import require_ability
from edge_monitor.errors import ExplainError
from edge_monitor.explain import prompts
from edge_monitor.explain.captions import find_caption, keep_caption, redact
from edge_monitor.explain.prompts import NEEDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.config.settings import Settings
    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.encode.captioner import Captioner
    from edge_monitor.encode.similarity import TextSimilarity
    from edge_monitor.records import Embedding, Finding, Vector
    from edge_monitor.store.store import Store


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked, and the caption of the anomalous sound if it is part of it."""

    text: str
    caption: str | None = None


class PromptMaker:
    """Makes prompts for one node's bundle. Thread-safe; models are loaded when due and let go when idle."""

    def __init__(self, settings: Settings, bundle: Bundle, store: Store, state_dir: Path) -> None:
        self._settings = settings
        self._bundle = bundle
        self._store = store
        self._state_dir = state_dir
        self._lock = threading.Lock()
        self._captioner: Captioner | None = None
        self._similarity: TextSimilarity | None = None

    @property
    def possible(self) -> tuple[str, ...]:
        """Return the worded methods that the bundle can do, the one that says most first."""
        able = self._bundle.manifest.abilities
        return tuple(method for method, needs in NEEDS.items() if set(needs) <= set(able))

    @property
    def method(self) -> str:
        """Return the configured method; for `auto` the one that says most."""
        configured = self._settings.explain.method
        return self.possible[0] if configured == "auto" else configured

    def require(self, method: str) -> None:
        """Check that the bundle can do a method. Raises ExplainError; BundleError names a bundle that can."""
        if method not in NEEDS:
            raise ExplainError(f"no method is named {method!r}", hint=f"there are: {', '.join(NEEDS)}")
        for ability in NEEDS[method]:
            require_ability(self._bundle, ability, self._state_dir)

    def prompt(
        self,
        method: str,
        machine: MachineSettings,
        anomaly: Embedding,
        normals: Sequence[Embedding],
        measured: tuple[str, Sequence[Finding]] | None = None,
    ) -> Prompt:
        """Return what is asked by one method.

        `normals` are the raw embeddings of the k nearest, nearest first; `measured` is the measured difference, its
        sentence and findings. Raises ExplainError or BundleError when the method is not possible, BundleMismatchError
        for another bundle's embeddings.
        """
        self.require(method)
        if method == "measured-worded":
            if measured is None:
                raise ExplainError("nothing was measured that could be worded", where=machine.name)
            return Prompt(prompts.measured_worded(machine.title, *measured))
        if not normals:
            raise ExplainError("its nearest normals are not known any more", where=machine.name)
        sounds = [anomaly, *normals]
        if method == "zero-shot":
            own, *others = map(self.similarities, sounds)
            return Prompt(prompts.zero_shot(machine.title, self.texts, own, others))
        caption, *captions = self.captions(sounds)
        if method == "text-decoder":
            return Prompt(prompts.text_decoder(machine.title, caption, captions), caption)
        own, *others = map(self.similarities, sounds)
        text = prompts.combination(
            machine.title,
            self.texts,
            caption=caption,
            similarities=own,
            normal_captions=captions,
            normal_similarities=others,
        )
        return Prompt(text, caption)

    def captions(self, embeddings: Sequence[Embedding]) -> list[str]:
        """Return each sound's caption, decoded once, redacted and kept. Raises BundleError.

        Those that are not kept are decoded together.
        """
        decoder = self._decoder_sha256()
        with self._store.reading() as connection:
            known = [find_caption(connection, each.vector, decoder) for each in embeddings]
        new = [each for each, text in zip(embeddings, known, strict=True) if text is None]
        decoded = iter(self._captions().captions(new) if new else ())
        texts = []
        for embedding, kept in zip(embeddings, known, strict=True):
            text = kept
            if text is None:
                text = redact(next(decoded).text)
                self._keep(embedding.vector, decoder, text)
            texts.append(text)
        return texts

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the reference texts: the bundle's, then the configuration's. Raises BundleError."""
        return self._similarities().texts

    def similarities(self, embedding: Embedding) -> tuple[float, ...]:
        """Return the cosine to each of `texts`, -1 to 1. Raises BundleError, BundleMismatchError."""
        return self._similarities().similarities(embedding)

    def _captions(self) -> Captioner:
        from edge_monitor.encode.captioner import Captioner

        with self._lock:
            if self._captioner is None:
                model = self._settings.model
                self._captioner = Captioner(
                    self._bundle,
                    threads=model.threads,
                    idle_s=model.caption_idle_s,
                    state_dir=self._state_dir,
                )
            return self._captioner

    def _similarities(self) -> TextSimilarity:
        from edge_monitor.encode.similarity import TextSimilarity

        with self._lock:
            if self._similarity is None:
                model = self._settings.model
                self._similarity = TextSimilarity(
                    self._bundle, also=model.texts, threads=model.threads, state_dir=self._state_dir
                )
            return self._similarity

    def _keep(self, vector: Vector, decoder: str, text: str) -> None:
        self._store.commit(lambda connection: keep_caption(connection, vector, decoder, text))

    def _decoder_sha256(self) -> str:
        """Return the hash of all that decides a caption: the files of the decoder and how it is used."""
        manifest = self._bundle.manifest
        part = None if manifest.captions is None else manifest.captions.model_dump(mode="json")
        files = sorted([file.path, file.sha256] for file in manifest.files_of("captions"))
        return hashlib.sha256(json.dumps([part, files]).encode()).hexdigest()
