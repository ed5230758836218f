"""Certificates on the operator's machine, looked at before any node is."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

from pyinfra.api import DeployError

from nodeproof.layers.audit.settings import Remote

_LARGEST = 1024 * 1024


def certificate(path: str, key: str) -> str:
    """Return the PEM text of a file with certificates; raises DeployError with the setting's name.

    Of what else is in the file, such as a private key, nothing is returned.
    """
    text = _read(path, key)
    found = _certificates(text)
    try:
        ssl.create_default_context(cadata=found) if found else None
    except ssl.SSLError as error:
        raise DeployError(f"audit.{key}: {path} holds a broken certificate: {error}") from error
    if not found:
        raise DeployError(f"audit.{key}: {path} holds no certificate; give a PEM file")
    return found


def authority(path: str, key: str) -> str:
    """Return the PEM text of certificates that sign others, none of which has expired."""
    found = certificate(path, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=found)
    authorities = context.get_ca_certs()
    if not authorities:
        raise DeployError(f"audit.{key}: {path} holds no certificate that may sign others")
    for one in authorities:
        ends = str(one["notAfter"])
        if ssl.cert_time_to_seconds(ends) < time.time():
            raise DeployError(f"audit.{key}: a certificate in {path} ended on {ends}")
    return found


def pair(remote: Remote) -> tuple[str, str]:
    """Return the node's own certificate and its key, which must belong together."""
    own = remote.own
    if own is None:
        return "", ""
    found = certificate(own.certificate_file, "remote.own.certificate_file")
    secret = _read(own.key_file, "remote.own.key_file")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(own.certificate_file, own.key_file, _no_password)
    except (ssl.SSLError, OSError) as error:
        raise DeployError(
            f"audit.remote.own.key_file: {own.key_file} is not the key, without a password, of "
            f"{own.certificate_file}"
        ) from error
    return found, secret


def _no_password() -> str:
    return ""


def _read(path: str, key: str) -> str:
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(_LARGEST)
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"audit.{key}: {path} cannot be read: {error}") from error


def _certificates(text: str) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    parts = [part.partition(end)[0] for part in text.split(begin)[1:] if end in part]
    return "".join(f"{begin}{part}{end}\n" for part in parts)
