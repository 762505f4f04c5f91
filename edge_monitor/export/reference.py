"""msclap itself, with the checkpoints' weights: what every built graph is compared with.

Its model classes are loaded without the package's `__init__`, which would import torchaudio; and GPT-2 is made from its
configuration, for its weights are in the checkpoints.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edge_monitor.errors import BundleError
from edge_monitor.export.checkpoint import adopt, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from edge_monitor.export.checkpoint import State
    from edge_monitor.export.graph import Weights

PACKAGE = "edge_monitor_msclap_models"  # the name msclap's `models` get here, so that its own package stays unloaded

# msclap's configs/config_2023.yml and config_clapcap.yml; the audio figures are overruled by its HTSAT wrapper
_AUDIO = {"sample_rate": 44_100, "window_size": 1024, "hop_size": 320, "mel_bins": 64, "fmin": 50, "fmax": 8000}
_CLASSES, _HEARD, DIM, _PREFIX, _MAPPER_LAYERS = 527, 768, 1024, 40, 8


@dataclass(frozen=True, slots=True)
class Reference:
    """msclap's modules, in evaluation mode, with the checkpoints' weights."""

    audio: torch.nn.Module  # waveform (batch, 308700) -> (embedding (batch, 1024), classes)
    text: torch.nn.Module  # {"input_ids", "attention_mask"} (batch, length) -> embedding (batch, 1024)
    captioner: Any  # .clap_project: (batch, 1024) -> prefix; .gpt: GPT-2 with its output layer
    caption_encoder: Literal["equal", "different", "absent"]  # the captioner's own audio encoder, beside `audio`
    ignored: tuple[str, ...]  # what of the checkpoints was not used, for a reader

    def weights(self, module: str, prefix: str = "") -> Weights:
        """Return one module's weights whose names begin with `prefix`, which is cut off, as numpy arrays."""
        state = getattr(self, module).state_dict()
        return {
            name.removeprefix(prefix): value.numpy()
            for name, value in state.items()
            if name.startswith(prefix) and value.is_floating_point()
        }

    def embed(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return msclap's raw audio embeddings (batch, 1024)."""
        return _run(lambda sounds: self.audio(sounds)[0], waveforms)

    def embed_texts(self, tokens: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return msclap's raw text embeddings (batch, 1024) of tokens and attention mask, both (batch, length)."""
        return _run(lambda ids, seen: self.text({"input_ids": ids, "attention_mask": seen}), tokens, mask)

    def prefix(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the caption prefix (batch, 40, 768) of unit vectors (batch, 1024)."""
        return _run(self.captioner.clap_project, vectors)

    def next_log_probs(self, prefix: NDArray[np.float32], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the log-probabilities (batch, 50257) after `prefix` (batch, m, 768) and `tokens` (batch, t)."""
        import torch

        gpt = self.captioner.gpt

        def log_probs(before: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            joined = torch.cat((before, gpt.transformer.wte(ids)), dim=1)
            return gpt(inputs_embeds=joined).logits[:, -1].log_softmax(-1)

        return _run(log_probs, prefix, tokens)


def _run(work: Callable[..., Any], *arrays: NDArray[Any]) -> NDArray[np.float32]:
    """Return what `work` makes of arrays as tensors, without gradients, as an array."""
    import torch

    with torch.no_grad():
        return np.asarray(work(*map(torch.from_numpy, arrays)).numpy())


@dataclass(frozen=True, slots=True)
class Modules:
    """msclap's modules before any weights are loaded."""

    clap: Any  # .audio_encoder, .caption_encoder, .logit_scale
    captioner: Any  # .clap, .clap_project, .gpt


def make_modules() -> Modules:
    """Return msclap's modules with whatever weights they begin with. Raises BundleError when it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch about meshgrid, in msclap's code
        clap, mapper = _msclap()
        made = {"classes_num": _CLASSES, "out_emb": _HEARD, "transformer_embed_dim": 768, "d_proj": DIM, **_AUDIO}
        model, own = (clap.CLAP("HTSAT", text_model="gpt2", **made) for _ in range(2))
        captioner = mapper.get_clapcap("ClapCaption")(
            own, "gpt2", _PREFIX, _PREFIX, DIM, _MAPPER_LAYERS, True, "transformer", True, True
        )
    return Modules(clap=model.eval(), captioner=captioner.eval())


def load_reference(clap: State, captioner: State, *, names: tuple[str, str]) -> Reference:
    """Return msclap with the weights of the two checkpoints, whose file names are for messages.

    Raises BundleError when a weight that is used is missing or has another shape.
    """
    import torch

    modules = make_modules()
    used = adopt(modules.clap, clap, "", where=names[0])
    owned = {name for name in captioner if name.startswith("clap.")}
    for part in ("clap_project", "gpt"):
        owned |= adopt(getattr(modules.captioner, part), captioner, f"{part}.", where=names[1])
    head = captioner.get("gpt.lm_head.weight")
    if head is not None and not torch.equal(head, captioner["gpt.transformer.wte.weight"]):
        raise BundleError("gpt.lm_head.weight is not the token table", where=names[1], hint="GPT-2's two are one")
    ignored = [
        f"{file}: {entry}"
        for file, state, known in ((names[0], clap, used), (names[1], captioner, owned))
        for entry in summary(name for name in state if name not in known)
    ]
    return Reference(
        audio=modules.clap.audio_encoder,
        text=modules.clap.caption_encoder,
        captioner=modules.captioner,
        caption_encoder=_compared_encoders(clap, captioner, used),
        ignored=tuple(ignored),
    )


def _compared_encoders(clap: State, captioner: State, used: set[str]) -> Literal["equal", "different", "absent"]:
    """Say whether the captioner brings the audio encoder that is scored with."""
    import torch

    names = [name.removeprefix("audio_encoder.") for name in used if name.startswith("audio_encoder.")]
    own = {name: captioner[f"clap.{name}"] for name in names if f"clap.{name}" in captioner}
    if not own:
        return "absent"
    same = len(own) == len(names) and all(
        torch.equal(value, clap[f"audio_encoder.{name}"]) for name, value in own.items()
    )
    return "equal" if same else "different"


def _msclap() -> tuple[Any, Any]:
    """Return msclap's modules `clap` and `mapper`, loaded once, GPT-2 in them made without a download."""
    found = importlib.util.find_spec("msclap")
    if found is None or not found.submodule_search_locations:
        raise BundleError(
            "the msclap package is missing", hint="`edge-monitor models pull` makes an environment with it"
        )
    if PACKAGE not in sys.modules:
        package = types.ModuleType(PACKAGE)
        package.__path__ = [str(Path(found.submodule_search_locations[0]) / "models")]
        sys.modules[PACKAGE] = package
    clap: Any = importlib.import_module(f"{PACKAGE}.clap")
    mapper: Any = importlib.import_module(f"{PACKAGE}.mapper")
    clap.AutoModel = _Unloaded("GPT2Model")
    mapper.GPT2LMHeadModel = _Unloaded("GPT2LMHeadModel")
    return clap, mapper


@dataclass(frozen=True, slots=True)
class _Unloaded:
    """Stands for a class of transformers whose `from_pretrained` would download weights that are loaded anyway."""

    name: str

    def from_pretrained(self, _repository: str) -> Any:  # noqa: ANN401 - a torch module
        import transformers

        return getattr(transformers, self.name)(transformers.GPT2Config())  # its defaults are gpt2's own
