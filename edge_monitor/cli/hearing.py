"""What `caption` and `similarity` share: the bundle to try, and each window's vector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from edge_monitor.cli.answers import warn
from edge_monitor.cli.options import (
    bundle_option,
    channel_option,
    find_settings,
    optional_settings_option,
    pattern_option,
)
from edge_monitor.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_monitor.config.settings import ModelSettings, Settings
    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.records import Embedding

    _Command = TypeVar("_Command", bound="Callable[..., object]")


@dataclass(frozen=True, slots=True)
class Trial:
    """The bundle to try, and the settings that go with it."""

    bundle: Bundle
    model: ModelSettings
    state_dir: Path | None  # where a node's own bundles lie; None without a configuration


@dataclass(frozen=True, slots=True)
class HeardWindow:
    """One window of a file."""

    file: Path
    start_s: float  # position in the file, seconds
    end_s: float
    embedding: Embedding

    @property
    def where(self) -> str:
        """Return the file and the place in it, for a person."""
        return f"{self.file}, {round(self.start_s, 1):g} s to {round(self.end_s, 1):g} s"

    def with_place(self, **found: object) -> dict[str, object]:
        """Return the place and what was found there, for a program."""
        return {"file": str(self.file), "start_s": self.start_s, "end_s": self.end_s, **found}


def trial_options(command: _Command) -> _Command:
    """Add FILES, `--bundle`, `--config`, `--pattern` and `--channel`."""
    files = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
    for option in (channel_option, pattern_option, optional_settings_option, bundle_option, files):
        command = option(command)
    return command


def choose(bundle_name: str | None, settings: Settings | None) -> Trial:
    """Return the bundle of that name, by default the configuration's.

    Raises ConfigError when neither is given nor found, BundleError when there is no such bundle.
    """
    from edge_monitor.config.settings import ModelSettings
    from edge_monitor.encode.bundle import find_bundle
    from edge_monitor.node.used_bundle import used_bundle

    if settings is None and bundle_name is not None:
        return Trial(find_bundle(bundle_name), ModelSettings(), None)
    settings = settings or find_settings(None)
    state_dir = settings.node.state_dir
    bundle = used_bundle(settings).bundle if bundle_name is None else find_bundle(bundle_name, state_dir)
    return Trial(bundle, settings.model, state_dir)


def hear(
    trial: Trial, files: tuple[Path, ...], pattern: str, channel: int, *, together: int = 1
) -> Iterator[list[HeardWindow]]:
    """Yield the windows of FILES (or of folders of them), side by side, up to that many together.

    What cannot be heard is told and passed over.

    Ends with exit code 1 when a file could not be heard.
    """
    from edge_monitor.cli.clips import find_files, left_out
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.node.clips import encode_clip
    from edge_monitor.records import Embedding

    found = find_files(files, pattern)
    encoder = Encoder(trial.bundle, trial.model.threads)
    failed = False
    heard: list[HeardWindow] = []
    for path in found:
        try:
            clip = encode_clip(path, encoder, channel, encoder.window_s)
        except AudioError as error:
            warn(str(error))
            failed = True
            continue
        failed = failed or not clip.windows
        for line in left_out(clip):
            warn(line)
        for window in clip.windows:
            end_s = min(window.start_s + encoder.window_s, clip.seconds)
            embedding = Embedding(window.vector, encoder.bundle_hash)
            heard.append(HeardWindow(path, window.start_s, end_s, embedding))
            if len(heard) == together:
                yield heard
                heard = []
    if heard:
        yield heard
    if failed:
        raise SystemExit(1)
