"""A document is fetched from a public host, by TLS, once, small and soon; or not at all."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trustme

from tunnel_relay.identity.documents import (
    MAX_BYTES,
    DocumentError,
    fetch,
    is_document_url,
    is_public,
    read_document,
)

DOCUMENT = {
    "client_name": "An agent",
    "redirect_uris": ["http://127.0.0.1/callback"],
    "token_endpoint_auth_method": "none",
}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "url",
    [
        "http://agent.example/x",
        "https://agent.example",
        "https://agent.example/",
        "https://user@agent.example/x",
        "https://agent.example/x#y",
        "https://agent.example/../x",
        "https://agent.example:99999/x",
        "https:///x",
        "https://agent.example/x y",
        "https://agént.example/x",
        "https://a/" + "x" * 600,
        "dyn-1",
    ],
)
def test_what_is_no_url_of_a_document(url: str) -> None:
    assert not is_document_url(url)


def test_a_document_url_is_https_with_a_path() -> None:
    assert is_document_url("https://agent.example/oauth/client.json")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fd00::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
        *("2002:7f00:1::", "2001:0:7f00:1::", "ff02::1", "192.0.2.1"),
    ],
)
def test_r01_an_address_that_is_not_public_is_recognised(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_is_recognised(address: str) -> None:
    assert is_public(address)


@asynccontextmanager
async def served(
    answer: Callable[[str], bytes],
) -> AsyncIterator[tuple[str, ssl.SSLContext, list[bytes]]]:
    """Serve one answer over real TLS at localhost; yields URL, trust and what was asked."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer(url))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/agent.json"
    try:
        yield url, trust, asked
    finally:
        server.close()


def whole(url: str) -> bytes:
    body = json.dumps({**DOCUMENT, "client_id": url}).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def test_a_document_of_an_allowed_host_is_fetched_and_read() -> None:
    async with served(whole) as (url, trust, asked):
        document = await fetch(url, ["localhost"], trust)
        assert read_document(url, document) == ("An agent", DOCUMENT["redirect_uris"])
        assert b"authorization" not in asked[0].lower()


async def test_r02_a_private_host_is_not_even_connected_to() -> None:
    async with served(whole) as (url, trust, asked):
        with pytest.raises(DocumentError):
            await fetch(url, [], trust)
        assert asked == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: https://localhost/x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\n\r\n[]",
        HEAD + b"Content-Length: 1\r\n\r\n{",
        HEAD + b"\r\n" + b" " * (MAX_BYTES + 1),
        b"SSH-2.0-x\r\n",
        b"",
    ],
)
async def test_r03_r04_what_is_no_small_json_object_is_refused(answer: bytes) -> None:
    async with served(lambda _: answer) as (url, trust, _):
        with pytest.raises(DocumentError):
            await fetch(url, ["localhost"], trust)


async def test_a_certificate_nobody_vouches_for_is_refused() -> None:
    async with served(whole) as (url, _, asked):
        with pytest.raises(DocumentError):
            await fetch(url, ["localhost"], ssl.create_default_context())
        assert asked == []


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "https://other.example/x"},
        {"client_name": None},
        {"client_name": "a\nb"},
        {"redirect_uris": []},
        {"redirect_uris": ["http://evil.example/"]},
        {"redirect_uris": "http://127.0.0.1/"},
        {"token_endpoint_auth_method": "private_key_jwt"},
    ],
)
def test_a_document_that_does_not_hold_is_refused(changed: dict[str, object]) -> None:
    url = "https://agent.example/agent.json"
    with pytest.raises(DocumentError):
        read_document(url, {**DOCUMENT, "client_id": url, **changed})
