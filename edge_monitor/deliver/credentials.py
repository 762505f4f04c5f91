"""Who this node is to the broker: password and TLS, read anew for each connection so that rotation works."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_monitor.config import credentials
from edge_monitor.errors import ConfigError, DeliveryError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.config.settings import MqttSettings, TlsSettings


def new_client(settings: MqttSettings, client_id: str) -> Client:
    """Return a paho client that has not connected, and never does so by itself."""
    return Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=MQTTProtocolVersion.MQTTv5 if settings.protocol == "5" else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
    )


def identify(client: Client, settings: MqttSettings) -> None:
    """Give a client its user name, password and TLS, as their files are now. Raises DeliveryError."""
    if settings.username is not None:
        client.username_pw_set(settings.username, read_password(settings))
    if settings.tls is not None:
        client.tls_set_context(tls_context(settings.tls))


def read_password(settings: MqttSettings) -> str | None:
    """Return the password from the settings, a file's first line, or a systemd credential; None when there is none.

    Raises DeliveryError, never showing the secret, when the file or credential cannot be read or is empty.
    """
    if settings.password is not None:
        return settings.password.get_secret_value()
    try:
        if settings.password_file is not None:
            return credentials.from_file(settings.password_file, key="mqtt.password_file")
        if settings.password_credential is not None:
            return credentials.from_credential(settings.password_credential, key="mqtt.password_credential")
    except ConfigError as error:
        raise DeliveryError(error.message, where=error.where, hint=error.hint) from error
    return None


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return a verifying client context; raises DeliveryError naming the file that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise _unusable(settings.ca_file, error, "check mqtt.tls.ca_file (PEM)") from error
    context.sslsocket_class = _ClosedWhenRefused
    if settings.cert_file is not None:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except OSError as error:
            raise _unusable(settings.cert_file, error, "check mqtt.tls.cert_file and key_file (PEM)") from error
    return context


class _ClosedWhenRefused(ssl.SSLSocket):
    """Closes itself when the handshake fails: paho lets go of it unclosed, once for each attempt."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _unusable(path: Path | None, error: Exception, hint: str) -> DeliveryError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return DeliveryError(f"cannot be used: {reason}", where=str(path), hint=hint)
