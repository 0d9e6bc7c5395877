"""Client-id metadata documents: an agent describes itself at the URL that is its identifier.

The relay fetches a URL that a stranger names, so: https and the default rules of TLS, one look-up
whose every address must be public, a connection to just that address, no redirect, no proxy, few
bytes, little time (attack rows R01 to R04).
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import anyio
import httptools
import jiter

from tunnel_relay.identity.redirects import is_redirect

MAX_BYTES = 64 * 1024
DEADLINE = 5.0
MAX_REDIRECTS = 10
MAX_URL = 200
"""Characters; an admin must be able to lock every agent by its identifier."""
MAX_ADDRESSES = 3
"""Tried one after the other: the first may be of a network this machine is not in."""
UNREACHABLE = "its host cannot be reached"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
_EXAMPLES = ipaddress.ip_network("3fff::/20")


class DocumentError(Exception):
    """The document cannot be had or used.

    The text is shown to strangers, so it tells nothing of a host that is not public; `reason` is
    for the log.
    """

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason or text


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
        inner = parsed.ipv4_mapped
        if inner is None and parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if parsed.teredo is not None or parsed.sixtofour is not None:
            return False  # tunnels: they end wherever the address says
        if parsed not in _UNICAST or parsed in _EXAMPLES:
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
            addresses = await resolve(host, parts.port or 443, host in private_hosts)
            reader, writer = await connect(addresses, host, trust)
            try:
                status, media_type, body = await _get(reader, writer, url)
            finally:
                writer.close()
    except TimeoutError:
        raise DocumentError(UNREACHABLE, "too slow") from None
    except OSError as error:
        raise DocumentError(UNREACHABLE, type(error).__name__) from None
    if status != 200 or media_type != "application/json":
        raise DocumentError("it is not a JSON document")
    try:
        document = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise DocumentError("it is not a JSON object")
    return document


def read_document(url: str, document: dict[str, Any]) -> tuple[str, list[str]]:
    """Return name and redirect URIs of an agent; raises DocumentError."""
    name, uris = document.get("client_name"), document.get("redirect_uris")
    if document.get("client_id") != url:
        raise DocumentError("its client_id is not its own URL")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= 200 or not name.isprintable():
        raise DocumentError("its client_name is missing or unusable")
    if not isinstance(uris, list) or not 0 < len(uris) <= MAX_REDIRECTS:
        raise DocumentError("it has no redirect_uris, or too many")
    if not all(isinstance(uri, str) and is_redirect(uri) for uri in uris):
        raise DocumentError("a redirect URI in it is not allowed")
    if document.get("token_endpoint_auth_method", "none") != "none":
        raise DocumentError("an agent with a document is a public client here")
    return name.strip(), uris


async def resolve(host: str, port: int, may_be_private: bool) -> list[tuple[str, int]]:
    """Look a host up, once; raises DocumentError unless every address of it is public."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not (may_be_private or all(map(is_public, addresses))):
        raise DocumentError(UNREACHABLE, "not on the public Internet")
    return [(address, port) for address in addresses[:MAX_ADDRESSES]]


async def connect(
    addresses: Sequence[tuple[str, int]], host: str, trust: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to one of the addresses that were judged; they are not looked up again."""
    for address in addresses[:-1]:
        try:
            return await asyncio.open_connection(*address, ssl=trust, server_hostname=host)
        except OSError:
            continue
    return await asyncio.open_connection(*addresses[-1], ssl=trust, server_hostname=host)


async def _get(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str
) -> tuple[int, str, bytes]:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    head = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n"
    writer.write((head + "Accept-Encoding: identity\r\nConnection: close\r\n\r\n").encode())
    await writer.drain()
    return await _read(reader)


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
