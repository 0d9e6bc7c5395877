"""Whom the client believes to be a server: the system's authorities, or the configured ones."""

import ssl
from pathlib import Path


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return TLS settings that check certificate and host name; raises OSError and SSLError.

    `ca_file` (PEM) takes the place of the system's authorities. Those are taken from where OpenSSL
    was built to look, not from where SSL_CERT_FILE and SSL_CERT_DIR say: a variable somebody
    planted must not add an authority.
    """
    if ca_file is not None:
        context = ssl.create_default_context(cafile=str(ca_file))
    else:
        paths = ssl.get_default_verify_paths()
        cafile = _there(paths.openssl_cafile)
        capath = _there(paths.openssl_capath)
        if cafile or capath:
            context = ssl.create_default_context(cafile=cafile, capath=capath)
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _there(place: str) -> str | None:
    return place if place and Path(place).exists() else None
