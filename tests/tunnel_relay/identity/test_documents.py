"""A document is fetched from a public host, by TLS, once, small and soon; or not at all."""

import ssl

import pytest

from tests.tunnel_relay.identity.document_host import DOCUMENT, HEAD, served, whole
from tunnel_relay.identity.documents import (
    MAX_BYTES,
    UNREACHABLE,
    DocumentError,
    connect,
    fetch,
    is_document_url,
    is_public,
    read_document,
)


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
        "https://agent.example/" + "x" * 180,
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
        *("2002:7f00:1::", "2002:808:808::", "2001:0:7f00:1::", "ff02::1", "192.0.2.1"),
        *("::7f00:1", "64:ff9b:1::7f00:1", "fec0::1", "3fff::1", "4000::1"),
    ],
)
def test_r01_an_address_that_is_not_public_is_recognised(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_a_public_address_is_recognised(address: str) -> None:
    assert is_public(address)


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
        HEAD + b'Content-Length: 13\r\n\r\n{"a":1,"a":2}',
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
        {"client_name": "  "},
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


@pytest.mark.parametrize(
    "host",
    [
        *("127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::]"),
        *("169.254.169.254", "localhost.", "localhost", "[64:ff9b::7f00:1]", "[::127.0.0.1]"),
    ],
)
async def test_r01_however_a_private_host_is_spelled_the_answer_is_the_same(host: str) -> None:
    """What is said to a stranger does not tell a closed port from a private address."""
    with pytest.raises(DocumentError, match=f"^{UNREACHABLE}$"):
        await fetch(f"https://{host}:1/x", [], ssl.create_default_context())


async def test_an_address_nobody_answers_at_is_followed_by_the_next() -> None:
    async with served(whole) as (url, trust, asked):
        port = int(url.split(":")[2].split("/")[0])
        reader, writer = await connect([("127.0.0.2", 1), ("127.0.0.1", port)], "localhost", trust)
        writer.close()
        assert not reader.at_eof()
        with pytest.raises(OSError):  # noqa: PT011 # any of them
            await connect([("127.0.0.2", 1), ("127.0.0.1", 1)], "localhost", trust)
        assert asked == []
