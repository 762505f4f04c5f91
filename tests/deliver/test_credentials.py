"""Passwords and certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_monitor.config.settings import MqttSettings, TlsSettings
from edge_monitor.deliver.credentials import read_password, tls_context
from edge_monitor.errors import DeliveryError

if TYPE_CHECKING:
    from pathlib import Path


def _settings(**keys: object) -> MqttSettings:
    return MqttSettings.model_validate({"host": "localhost", "username": "edge", **keys})


def test_the_inline_password_is_used_and_never_shown() -> None:
    """It is returned to the connection and masked everywhere else."""
    settings = _settings(password="open-sesame")  # noqa: S106 - a test's
    assert read_password(settings) == "open-sesame"
    assert "open-sesame" not in repr(settings) + str(settings)


def test_the_first_line_of_the_password_file_is_used(tmp_path: Path) -> None:
    """A trailing newline or further lines do not belong to the password."""
    (tmp_path / "secret").write_text("open sesame\nnotes\n")
    assert read_password(_settings(password_file=tmp_path / "secret")) == "open sesame"


def test_a_systemd_credential_is_read_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies in $CREDENTIALS_DIRECTORY."""
    (tmp_path / "mqtt").write_text("open-sesame")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_password(_settings(password_credential="mqtt")) == "open-sesame"  # noqa: S106 - a name


def test_a_missing_credentials_directory_says_what_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started outside systemd, the error names the key and the unit's directive."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(DeliveryError) as error:
        read_password(_settings(password_credential="mqtt"))  # noqa: S106 - a name
    assert str(error.value) == (
        "mqtt.password_credential: systemd passed no credentials (add LoadCredential=mqtt:FILE to the unit)"
    )


@pytest.mark.parametrize(("content", "message"), [(None, "No such file"), ("", "empty"), ("\nx", "empty")])
def test_a_password_file_without_password_is_one_clear_line(tmp_path: Path, content: str | None, message: str) -> None:
    """Missing, empty and blank files are told apart from a wrong password."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DeliveryError, match=message) as error:
        read_password(_settings(password_file=path))
    assert error.value.where == str(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_an_unusable_ca_file_is_one_clear_line(tmp_path: Path, content: str | None) -> None:
    """Missing or not PEM: the error names the file and the key."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DeliveryError, match=r"check mqtt\.tls\.ca_file") as error:
        tls_context(TlsSettings(ca_file=path))
    assert error.value.where == str(path)
    assert "\n" not in str(error.value)


def test_an_unusable_client_certificate_is_one_clear_line(tmp_path: Path) -> None:
    """The certificate and its key are checked before the first connection."""
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("nothing")
    with pytest.raises(DeliveryError, match=r"check mqtt\.tls\.cert_file"):
        tls_context(TlsSettings(cert_file=tmp_path / "cert.pem", key_file=tmp_path / "key.pem"))
