"""Client-id metadata documents: an agent describes itself at the URL that is its identifier.

The relay fetches a URL that a stranger names, so: https and the default rules of TLS, one look-up
whose every address must be public, a connection to just that address, no redirect, no proxy, few
bytes, little time (attack rows R01 to R04).
"""

import asyncio
import ipaddress
import json
import socket
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import anyio
import httptools

from tunnel_relay.identity.redirects import is_redirect

MAX_BYTES = 64 * 1024
DEADLINE = 5.0
MAX_REDIRECTS = 10
MAX_URL = 500
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class DocumentError(Exception):
    """The document cannot be had or used; the text names no private address."""


def is_document_url(text: str) -> bool:
    """Tell whether a client id is the URL of a document: https, with a path, nothing odd."""
    if not text.startswith("https://") or len(text) > MAX_URL or not text.isascii():
        return False
    if not text.isprintable() or any(character in text for character in ' \\#"<>^`{|}'):
        return False
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        return False
    segments = url.path.split("/")
    plain = "@" not in url.netloc and "." not in segments and ".." not in segments
    return bool(host) and plain and len(url.path) > 1


def is_public(address: str) -> bool:
    """Tell whether an address is one of the public Internet, however it is written."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if inner is None and parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if parsed.teredo is not None:
            return False
    return parsed.is_global and not parsed.is_multicast


async def fetch(url: str, private_hosts: Sequence[str], trust: ssl.SSLContext) -> dict[str, Any]:
    """Return the document at a URL that `is_document_url`; raises DocumentError.

    Hosts in `private_hosts` may have private addresses: an operator named them.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        with anyio.fail_after(DEADLINE):
            address = await _resolve(host, parts.port or 443, host in private_hosts)
            status, media_type, body = await _get(address, host, parts.netloc, url, trust)
    except TimeoutError:
        raise DocumentError("it did not come in time") from None
    except (OSError, ssl.SSLError):
        raise DocumentError("its host cannot be reached safely") from None
    if status != 200 or media_type != "application/json":
        raise DocumentError("it is not a JSON document")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise DocumentError("it is not a JSON object")
    return document


def read_document(url: str, document: dict[str, Any]) -> tuple[str, list[str]]:
    """Return name and redirect URIs of an agent; raises DocumentError."""
    name, uris = document.get("client_name"), document.get("redirect_uris")
    if document.get("client_id") != url:
        raise DocumentError("its client_id is not its own URL")
    if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
        raise DocumentError("its client_name is missing or unusable")
    if not isinstance(uris, list) or not 0 < len(uris) <= MAX_REDIRECTS:
        raise DocumentError("it has no redirect_uris, or too many")
    if not all(isinstance(uri, str) and is_redirect(uri) for uri in uris):
        raise DocumentError("a redirect URI in it is not allowed")
    if document.get("token_endpoint_auth_method", "none") != "none":
        raise DocumentError("an agent with a document is a public client here")
    return name.strip() or url, uris


async def _resolve(host: str, port: int, may_be_private: bool) -> tuple[str, int]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not (may_be_private or all(map(is_public, addresses))):
        raise DocumentError("its host is not on the public Internet")
    return addresses[0], port


async def _get(
    address: tuple[str, int], host: str, authority: str, url: str, trust: ssl.SSLContext
) -> tuple[int, str, bytes]:
    reader, writer = await asyncio.open_connection(*address, ssl=trust, server_hostname=host)
    try:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        head = f"GET {target} HTTP/1.1\r\nHost: {authority}\r\nAccept: application/json\r\n"
        writer.write((head + "Accept-Encoding: identity\r\nConnection: close\r\n\r\n").encode())
        await writer.drain()
        return await _read(reader)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> tuple[int, str, bytes]:
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    taken = 0
    try:
        while not answer.complete:
            data = await reader.read(16 * 1024)
            if not data:
                break
            taken += len(data)
            if taken > MAX_BYTES:
                raise DocumentError("it is too large")
            parser.feed_data(data)
    except httptools.HttpParserError:
        raise DocumentError("its server does not speak HTTP") from None
    status = parser.get_status_code() if answer.begun else 0
    return status, answer.media_type, bytes(answer.body)


class _Answer:
    def __init__(self) -> None:
        self.begun = self.complete = False
        self.media_type = ""
        self.body = bytearray()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self.media_type = value.split(b";")[0].strip().lower().decode("latin-1")

    def on_headers_complete(self) -> None:
        self.begun = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True
