"""What a secret is fetched from is dialled under the rules of everything we dial."""

import ssl
from pathlib import Path

import pytest

from tests.helpers.tls import Authority
from tests.tunnel_client.upstream.http_support import raw_server, says
from tunnel_client.credentials.web import Endpoint
from tunnel_client.errors_upstreams import CredentialError
from tunnel_client.upstream.egress import Egress

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}'


async def test_the_certificate_is_that_of_the_name_though_an_address_is_dialled(
    tmp_path: Path,
) -> None:
    """Row R14."""
    authority = Authority()
    ca = authority.write(tmp_path / "ca.pem")
    async with raw_server(says(OK), tls=authority.server("localhost")) as server:
        url = f"https://localhost:{server.port}/x"
        assert await Endpoint(ca, Egress()).ask("GET", url) == {"a": 1}
        assert server.seen[0].header(b"host") == f"localhost:{server.port}".encode()
        with pytest.raises(CredentialError, match="cannot be reached"):
            await Endpoint(None, Egress()).ask("GET", url)
        assert len(server.seen) == 1
    other: ssl.SSLContext = authority.server("other.example")
    async with raw_server(says(OK), tls=other) as server:
        with pytest.raises(CredentialError, match="cannot be reached"):
            await Endpoint(ca, Egress()).ask("GET", f"https://localhost:{server.port}/x")
        assert server.seen == []


async def test_no_proxy_of_the_environment_and_no_address_outside_its_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows R01 and R12."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    async with raw_server(says(OK)) as server:
        url = f"http://127.0.0.1:{server.port}/x"
        assert await Endpoint(None, Egress()).ask("POST", url, form={"a": "b"}) == {"a": 1}
        with pytest.raises(CredentialError, match="not in its networks"):
            await Endpoint(None, Egress.of(["10.0.0.0/8"])).ask("GET", url)
        assert len(server.seen) == 1


@pytest.mark.parametrize("body", [b"[]", b"<html>", b'{"a":1,"a":2}', b"\xff", b""])
async def test_what_is_not_one_object_is_refused(body: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with raw_server(says(answer)) as server:
        with pytest.raises(CredentialError, match="JSON object"):
            await Endpoint(None, Egress()).ask("GET", f"http://127.0.0.1:{server.port}/x")
