"""Certificates made on the spot, good ones and bad ones."""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """A private certificate authority."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def write(self, path: Path) -> Path:
        """Write the authority's own certificate as PEM; returns `path`."""
        self._ca.cert_pem.write_to_path(str(path))
        return path

    def files(self, folder: Path, *names: str) -> tuple[Path, Path]:
        """Write a server's certificate chain and key; returns both paths."""
        cert = self._ca.issue_cert(*names)
        chain, key = folder / "cert.pem", folder / "key.pem"
        for pem in cert.cert_chain_pems:
            pem.write_to_path(str(chain), append=True)
        key.touch(mode=0o600)
        cert.private_key_pem.write_to_path(str(key))
        return chain, key

    def server(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """Return TLS settings of a server with a certificate for `names`."""
        past = datetime.now(UTC) - timedelta(days=2)
        cert = self._ca.issue_cert(
            *names,
            not_before=past if expired else None,
            not_after=past + timedelta(days=1) if expired else None,
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        cert.configure_cert(context)
        return context


def old_tls(context: ssl.SSLContext) -> ssl.SSLContext:
    """Limit a server to TLS 1.0 and 1.1, which nobody should accept any more (RFC 8996)."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@contextmanager
def changing(*contents: Mapping[Path, bytes]) -> Iterator[None]:
    """Put one set of files in place of the other all the time, one file after another."""
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            for files in contents:
                for path, content in files.items():
                    fresh = path.with_suffix(".new")
                    fresh.write_bytes(content)
                    fresh.chmod(0o600)
                    fresh.replace(path)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
