"""Who this node is to the broker: password and TLS, read anew for each connection so that rotation works."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor.errors import DeliveryError

if TYPE_CHECKING:
    from edge_monitor.config import MqttSettings, TlsSettings


def read_password(settings: MqttSettings) -> str | None:
    """Return the password from the settings, a file's first line, or a systemd credential; None when there is none.

    Raises DeliveryError, never showing the secret, when the file or credential cannot be read or is empty.
    """
    if settings.password is not None:
        return settings.password.get_secret_value()
    if settings.password_file is not None:
        return _first_line(settings.password_file, "check mqtt.password_file")
    if settings.password_credential is not None:
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder is None:
            raise DeliveryError(
                "systemd passed no credentials",
                where="mqtt.password_credential",
                hint=f"add LoadCredential={settings.password_credential}:FILE to the unit",
            )
        return _first_line(Path(folder) / settings.password_credential, "check LoadCredential= in the unit")
    return None


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return a verifying client context; raises DeliveryError naming the file that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise _unusable(settings.ca_file, error, "check mqtt.tls.ca_file (PEM)") from error
    if settings.cert_file is not None:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except OSError as error:
            raise _unusable(settings.cert_file, error, "check mqtt.tls.cert_file and key_file (PEM)") from error
    return context


def _first_line(path: Path, hint: str) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, error, hint) from error
    if not lines or not lines[0]:
        raise DeliveryError("the password file is empty", where=str(path), hint=hint)
    return lines[0]


def _unusable(path: Path | None, error: Exception, hint: str) -> DeliveryError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return DeliveryError(f"cannot be used: {reason}", where=str(path), hint=hint)
