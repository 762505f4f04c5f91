"""Certificates for the tests' broker, made by openssl: an authority of one's own, and what it signs."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, PEM files."""

    certificate: Path
    key: Path

    @property
    def listener(self) -> tuple[str, ...]:
        """Return what makes a mosquitto listener use it."""
        return (f"certfile {self.certificate}", f"keyfile {self.key}")


class Authority:
    """A certificate authority; `ca_file` is what clients trust."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self.ca_file = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        may = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # Python 3.13 asks for it
        subject = ("-days", "2", "-subj", f"/CN={name}")
        _openssl("req", "-x509", *_KEY, *may, *subject, "-keyout", self._key, "-out", self.ca_file)

    def issue(self, host: str = "127.0.0.1", *, expired: bool = False) -> Identity:
        """Sign a certificate for a host name or address, one that has `expired` with a clock of last week."""
        stem = f"{host}{'-expired' if expired else ''}"
        identity = Identity(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        request = self._folder / "request.csr"
        kind = "IP" if host.replace(".", "").isdigit() else "DNS"
        alternative = self._folder / "alternative.cnf"
        keys = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"  # as for the authority's key usage
        alternative.write_text(f"subjectAltName={kind}:{host}\n{keys}")
        _openssl("req", *_KEY, "-subj", f"/CN={host}", "-keyout", identity.key, "-out", request)
        _openssl(
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            self.ca_file,
            "-CAkey",
            self._key,
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            alternative,
            "-out",
            identity.certificate,
            clock="-7d" if expired else "",
        )
        return identity


def _openssl(*arguments: str | Path, clock: str = "") -> None:
    [faketime] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    environment = {**os.environ, "LD_PRELOAD": str(faketime), "FAKETIME": clock} if clock else None
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, env=environment)
