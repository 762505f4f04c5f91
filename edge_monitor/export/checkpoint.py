"""A published checkpoint: opened without running anything in it, its keys accounted for one by one."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any

from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import torch

    State = Mapping[str, torch.Tensor]

# What msclap's classes hold but no embedding, caption or similarity depends on, or what follows from the architecture.
_UNUSED = re.compile(
    r"(num_batches_tracked|relative_position_index|attn_mask|\.attn\.(masked_)?bias)$"  # buffers
    r"|\.htsat\.(tscam_conv|head)\."  # the classifier of AudioSet's 527 labels
    r"|^gpt\.lm_head\.weight$"  # the token table again
)


def open_checkpoint(path: Path) -> State:
    """Return the tensors of a checkpoint `{"model": {name: tensor}}`, float32.

    Only tensors and plain containers are read; a file that wants anything else is refused before it runs.
    Raises BundleError when it cannot be read or is built differently.
    """
    import torch

    zipped = False
    try:
        zipped = _require_sums(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch about a pickle's age; what it cannot read it refuses
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BundleError(
            "holds more than weights and was not opened: a checkpoint can carry code",
            where=str(path),
            hint="get it from its publisher again",
        ) from error
    except OSError as error:
        raise BundleError(
            f"cannot be read: {error.strerror or error}", where=str(path), hint="check the file and its rights"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]  # torch goes on to guess
        fault = f"cannot be read as a checkpoint: {reason}" if zipped else "is no checkpoint of torch, or cut short"
        raise BundleError(fault, where=str(path), hint="get it again") from error
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BundleError("has no table 'model' of tensors", where=str(path), hint="is it a checkpoint of msclap?")
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def _require_sums(path: Path) -> bool:
    """Check the checksums that a checkpoint carries since torch 1.6, being a ZIP file; torch itself does not look.

    Return whether it is one. Raises BundleError with the part that is damaged.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise BundleError(f"is damaged: the checksum of {damaged} is wrong", where=str(path), hint="get it again")
    return True


def adopt(module: torch.nn.Module, state: State, prefix: str, *, where: str) -> set[str]:
    """Load the keys of `state` that begin with `prefix` into `module`; return the ones that were used.

    Every parameter that matters must be there with its shape. Raises BundleError with the first that is not.
    """
    wanted = module.state_dict()
    missing = [prefix + name for name in wanted if prefix + name not in state and not _UNUSED.search(prefix + name)]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BundleError(f"{missing[0]}{more} missing", where=where, hint="this is not the published checkpoint")
    for name, value in wanted.items():
        found = state.get(prefix + name, value)
        if found.shape != value.shape:
            raise BundleError(
                f"{prefix + name} is {tuple(found.shape)}, expected {tuple(value.shape)}",
                where=where,
                hint="this is not the published checkpoint",
            )
    module.load_state_dict({name: state[prefix + name] for name in wanted if prefix + name in state}, strict=False)
    return {prefix + name for name in wanted if prefix + name in state and not _UNUSED.search(prefix + name)}


def summary(names: Iterable[str]) -> tuple[str, ...]:
    """Return names for a reader: numbers in them become N, and names that are then equal are counted."""
    counted = Counter(re.sub(r"\.\d+\.", ".N.", name) for name in names)
    return tuple(f"{name} ({count})" if count > 1 else name for name, count in sorted(counted.items()))
