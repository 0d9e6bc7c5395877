"""R04: a provider's documents are fetched with few bytes, no redirects, and TLS off loopback."""

from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from tests.tunnel_relay.identity.key_host import key_host
from tunnel_relay.identity.fetching import MAX_BYTES, Fetcher, FetchError, load_trust


async def test_a_json_object_is_fetched_and_a_form_is_sent() -> None:
    async with key_host() as host:
        host.pages["/a"] = {"b": 1}
        fetcher = Fetcher()
        assert await fetcher.get(host.url + "/a") == {"b": 1}
        login = "relay", SecretStr("p:q")
        assert await fetcher.post(host.url + "/a", {"code": "c d"}, login) == {"b": 1}
        assert host.bodies[-1] == b"code=c+d"


@pytest.mark.parametrize(
    "page",
    [
        b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /good\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nkeys",
        b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"a":1, "a":2}',
        b"SSH-2.0-OpenSSH\r\n",
        [1, 2],
        {"a": "x" * MAX_BYTES},
    ],
)
async def test_what_is_refused(page: object) -> None:
    async with key_host() as host:
        host.pages |= {"/a": page, "/good": {"b": 1}}
        with pytest.raises(FetchError):
            await Fetcher().get(host.url + "/a")
        assert host.asked == ["/a"]


@pytest.mark.parametrize(
    "url",
    [
        *("http://relay.example.com/a", "file:///etc/passwd", "https://user@host/a", ""),
        *("http://127.0.0.1.evil.example/a", "http://10.0.0.1/a", "https://h/a b", "https://h/#a"),
        *("gopher://h/", "ftp://h/a", "unix:/run/x.sock", "data:application/json,{}"),
    ],
)
async def test_where_nothing_is_fetched_from(url: str) -> None:
    """R04, R10."""
    with pytest.raises(FetchError, match="https"):
        await Fetcher().get(url)


async def test_a_host_that_is_not_there_is_told_by_the_kind_of_error() -> None:
    async with key_host() as host:
        url = host.url
    with pytest.raises(FetchError, match="ConnectError"):
        await Fetcher().get(url + "/a")


def test_own_authorities_replace_the_systems(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    assert len(load_trust(file).get_ca_certs()) == 1
    with pytest.raises(FileNotFoundError):
        load_trust(tmp_path / "missing.pem")
