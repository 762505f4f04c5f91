"""A checkpoint that is not the published one ends in one line, and none runs code."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING

import pytest

from edge_monitor.encode.bundle import open_bundle
from edge_monitor.errors import BundleError, BundleMismatchError, BundleMissingError
from edge_monitor.export.checkpoint import adopt, open_checkpoint, summary
from edge_monitor.export.place import work_folder
from edge_monitor.export.pull import copies, pull

if TYPE_CHECKING:
    from pathlib import Path

    from tests.export.full_size import FullSize

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]


class Canary:
    """Unpickled, it makes a folder: code that a checkpoint runs when it is read carelessly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        """Say what a pickle is to call."""
        return (os.mkdir, (str(self.folder),))


def test_the_canary_sings_when_a_pickle_is_loaded_carelessly(tmp_path: Path) -> None:
    """The test below would notice."""
    pickle.loads(pickle.dumps(Canary(tmp_path / "sung")))  # noqa: S301 - the fault under test
    assert (tmp_path / "sung").exists()


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    """A pickle that calls a function is refused, in torch's format and as a bare pickle."""
    import torch

    torch.save({"model": {"w": torch.zeros(2)}, "extra": Canary(tmp_path / "sung")}, tmp_path / "zip.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps({"model": Canary(tmp_path / "sung")}))
    for name in ("zip.pth", "bare.pth"):
        with pytest.raises(BundleError, match="holds more than weights and was not opened") as caught:
            open_checkpoint(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "sung").exists()


@pytest.mark.parametrize("cut", [0, 100, 900])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, cut: int) -> None:
    """Empty, or cut off anywhere, is one line that names the file."""
    import torch

    torch.save({"model": {"w": torch.zeros(200)}}, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[:cut])
    with pytest.raises(BundleError, match=r"cut\.pth: ") as caught:
        open_checkpoint(tmp_path / "cut.pth")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200 + len(str(tmp_path))


def test_what_is_no_checkpoint_at_all_is_refused(tmp_path: Path) -> None:
    """A text file, for example."""
    (tmp_path / "text.pth").write_text("hallo")
    with pytest.raises(BundleError, match=r"text\.pth: is no checkpoint of torch, or cut short \(get it again\)"):
        open_checkpoint(tmp_path / "text.pth")


def test_a_checkpoint_with_one_bit_changed_is_refused(tmp_path: Path) -> None:
    """Torch reads it without a word; the file's own checksums tell."""
    import torch

    torch.save({"model": {"w": torch.full((200,), 1.5)}}, tmp_path / "w.pth")
    content = bytearray((tmp_path / "w.pth").read_bytes())
    content[content.index(b"\x00\x00\xc0\x3f" * 200) + 5] ^= 1
    (tmp_path / "w.pth").write_bytes(content)
    assert torch.load(tmp_path / "w.pth", weights_only=True)["model"]["w"].unique().numel() == 2
    with pytest.raises(BundleError, match=r"w\.pth: is damaged: the checksum of \S+ is wrong \(get it again\)"):
        open_checkpoint(tmp_path / "w.pth")


def test_a_file_without_a_table_of_tensors_is_refused(tmp_path: Path) -> None:
    """Another project's checkpoint is not taken for msclap's."""
    import torch

    contents: list[object] = [{"state_dict": {}}, {"model": {"w": 3}}, [1, 2]]
    for content in contents:
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(BundleError, match="has no table 'model' of tensors"):
            open_checkpoint(tmp_path / "other.pth")


def test_a_missing_or_misshapen_weight_is_named() -> None:
    """Where msclap itself would go on with random numbers."""
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    state = {f"part.{name}": value for name, value in module.state_dict().items()}
    assert adopt(module, state, "part.", where="a.pth") == set(state)
    with pytest.raises(BundleError, match=r"a\.pth: part\.0\.weight is \(3, 2\), expected \(2, 3\)"):
        adopt(module, {**state, "part.0.weight": torch.zeros(3, 2)}, "part.", where="a.pth")
    del state["part.1.weight"]
    with pytest.raises(BundleError, match=r"a\.pth: part\.1\.weight missing"):
        adopt(module, state, "part.", where="a.pth")
    del state["part.0.weight"]
    with pytest.raises(BundleError, match=r"a\.pth: part\.0\.weight and 1 more missing"):
        adopt(module, state, "part.", where="a.pth")


def test_what_is_ignored_is_listed_once_per_kind() -> None:
    """Twelve layers' buffers are one line."""
    names = [f"gpt.h.{layer}.attn.bias" for layer in range(12)]
    assert summary([*names, "optimizer"]) == ("gpt.h.N.attn.bias (12)", "optimizer")


def test_a_checkpoint_without_a_key_leaves_the_installed_bundle_alone(full_size: FullSize, tmp_path: Path) -> None:
    """The line names the weight; the old bundle stays whole, and no half of a new one appears."""
    import torch

    out = tmp_path / "models/msclap-2023"
    out.parent.mkdir()
    out.symlink_to(full_size.bundle.folder)
    state = torch.load(full_size.checkpoints[0], weights_only=True, mmap=True)
    del state["model"]["audio_encoder.base.htsat.layers.2.blocks.5.attn.qkv.weight"]
    spoilt = full_size.folder / "spoilt.pth"
    torch.save(state, spoilt)
    try:
        with pytest.raises(BundleError, match=r"layers\.2\.blocks\.5\.attn\.qkv\.weight missing"):
            pull(open_bundle(full_size.recipe), out, from_file=(spoilt, full_size.checkpoints[1]), say=lambda _: None)
    finally:
        spoilt.unlink()
    open_bundle(out).verify()
    assert not list(work_folder(out).rglob("*.onnx"))


def test_copies_are_held_to_the_recipe(full_size: FullSize) -> None:
    """A built bundle knows its files' hashes: building it again from other files is refused."""
    assert copies(full_size.bundle, *full_size.checkpoints).paths["tokens"].name == "vocab.json"
    with pytest.raises(BundleMismatchError, match="bytes, expected"):
        copies(full_size.bundle, full_size.checkpoints[1], full_size.checkpoints[1])
    with pytest.raises(BundleMissingError, match="cannot be read"):
        copies(full_size.bundle, full_size.checkpoints[0].with_name("none.pth"), full_size.checkpoints[1])


def test_a_captioner_with_another_audio_encoder_is_said_to_have_one(full_size: FullSize) -> None:
    """Captions are decoded from the scored vector, so a user should know."""
    from edge_monitor.export.reference import load_reference

    encoder, captioner = (dict(open_checkpoint(path)) for path in full_size.checkpoints)
    captioner["clap.projection.linear1.weight"] = captioner["clap.projection.linear1.weight"] + 1e-3
    assert load_reference(encoder, captioner, names=("a", "b")).caption_encoder == "different"
    alone = {name: value for name, value in captioner.items() if not name.startswith("clap.")}
    assert load_reference(encoder, alone, names=("a", "b")).caption_encoder == "absent"
