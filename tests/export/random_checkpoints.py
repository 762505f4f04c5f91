"""Checkpoints in the published files' format with the full-size architecture and seeded random weights.

The weights mean nothing, but react to the input: layer upon layer keeps the variance, so that different sounds give
different vectors, and the normalization after the front end fits the levels that occur.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.export.reference import make_modules

if TYPE_CHECKING:
    from pathlib import Path

    import torch


def write_checkpoints(folder: Path, *, seed: int = 0) -> tuple[Path, Path]:
    """Write `CLAP_weights_2023.pth` and `clapcap_weights_2023.pth` into `folder` and return their paths."""
    import torch

    torch.manual_seed(seed)
    modules = make_modules()
    for module in (modules.clap, modules.captioner):
        randomize(module, torch.Generator().manual_seed(seed + 1))
    # the captioner was trained on the published encoder
    modules.captioner.clap.load_state_dict(modules.clap.audio_encoder.state_dict())
    clap, captioner = folder / "CLAP_weights_2023.pth", folder / "clapcap_weights_2023.pth"
    torch.save({"model": modules.clap.state_dict()}, clap)
    state = dict(modules.captioner.state_dict())
    # as older versions of transformers saved it: causal masks beside the weights
    for layer in range(12):
        state[f"gpt.transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    torch.save({"model": state, "epoch": 7}, captioner)
    return clap, captioner


def randomize(module: torch.nn.Module, generator: torch.Generator) -> None:
    """Fill a module's parameters and running statistics; the front end's DFT and mel filters stay as they are."""
    import torch

    with torch.no_grad():
        for name, value in module.named_parameters():
            if ".stft." in name or name.endswith(("melW", "logit_scale")):
                continue
            if name.endswith("relative_position_bias_table"):
                value.normal_(0.0, 1.0, generator=generator)
            elif name.endswith(("wte.weight", "wpe.weight", "prefix_const")):
                value.normal_(0.0, 0.5, generator=generator)
            elif value.ndim >= 2:
                inputs = value.shape[0] if ".c_" in name else value[0].numel()  # GPT-2's matrices lie the other way
                value.normal_(0.0, 1.4 / inputs**0.5, generator=generator)
            elif name.endswith("bias"):
                value.normal_(0.0, 0.1, generator=generator)
            else:
                value.normal_(1.0, 0.1, generator=generator)
        for name, value in module.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(-30.0, 10.0, generator=generator)  # dB
            elif name.endswith("running_var"):
                value.uniform_(100.0, 400.0, generator=generator)
