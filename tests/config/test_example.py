"""The example and the reference say what the settings are."""

from __future__ import annotations

import re
from pathlib import Path

from edge_monitor.config.file import load_settings
from edge_monitor.config.reference import reference

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "edge_monitor/config/example.toml"


def test_the_example_is_sound_and_the_deployed_one_is_the_same() -> None:
    """What `config init` writes passes `config check`, and so does what systemd is given."""
    assert load_settings(EXAMPLE).machine[0].name == "pump-3"
    assert (REPOSITORY / "deploy/systemd/edge-monitor.toml").read_text() == EXAMPLE.read_text()


def test_what_the_example_has_in_comments_is_sound_too(tmp_path: Path) -> None:
    """A key a user uncomments works, whichever it is."""
    path = tmp_path / "edge-monitor.toml"
    keys = re.compile(r"^# (?=(username|password_file|\[mqtt|ca_file|cert_file|key_file))", re.MULTILINE)
    with_tls = keys.sub("", EXAMPLE.read_text())
    path.write_text(with_tls)
    loaded = load_settings(path)
    assert loaded.mqtt is not None
    assert loaded.mqtt.tls is not None
    for kind in ("recording", "simulator"):
        source = re.compile(rf'^source = .*\n((?:# source.*\n)*)# (source = {{ kind = "{kind}".*)', re.MULTILINE)
        path.write_text(source.sub(r"\1\2", with_tls))
        assert load_settings(path).machine[0].source.kind == kind


def test_the_reference_is_what_the_settings_say() -> None:
    """docs/configuration.md is written by `edge-monitor config reference`."""
    assert (REPOSITORY / "docs/configuration.md").read_text() == reference()
