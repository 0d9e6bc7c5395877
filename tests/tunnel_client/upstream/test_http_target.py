"""Upstream addresses come from configuration, and TLS is never weaker than it should be."""

import re
import ssl
from pathlib import Path

import pytest

from tests.helpers.tls import Authority
from tunnel_client.upstream.http_target import (
    BadTargetError,
    HttpLimits,
    origin_of,
    target_from,
)


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("http://127.0.0.1:3000/mcp", "127.0.0.1", 3000, "/mcp", "127.0.0.1:3000"),
        ("http://crm.internal", "crm.internal", 80, "/", "crm.internal"),
        ("http://crm.internal:80/a", "crm.internal", 80, "/a", "crm.internal"),
        ("https://crm.internal/a?b=c", "crm.internal", 443, "/a?b=c", "crm.internal"),
        ("https://CRM:8443/", "crm", 8443, "/", "crm:8443"),
        ("http://[::1]:3000/mcp", "::1", 3000, "/mcp", "[::1]:3000"),
        ("http://my_service:1/mcp", "my_service", 1, "/mcp", "my_service:1"),
    ],
)
def test_urls_are_read(url: str, host: str, port: int, path: str, authority: str) -> None:
    target = target_from(url)
    assert (target.host, target.port, target.path) == (host, port, path)
    assert target.authority == authority
    assert (target.tls is not None) == url.startswith("https")
    assert target.unix is None


def test_a_unix_socket_has_a_path_of_its_own_and_one_for_the_request() -> None:
    target = target_from("unix:/run/x.sock:/mcp?u=http://x")
    assert target.unix == "/run/x.sock"
    assert target.path == "/mcp?u=http://x"
    assert target.authority == "localhost"
    assert target.tls is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x/",
        "file:///etc/passwd",
        *("gopher://x/", "data:text/plain,x", "javascript:x", "ldap://x/", "unix+http://x/"),
        "http://",
        "http:///mcp",
        "//x/mcp",
        "x:3000/mcp",
        "http://x:99999/",
        "http://x:y/",
        "http://user:secret@x/",
        "http://user@x/",
        "http://x/mcp#part",
        "http://x/a b",
        "http://x/a\r\nHost: y",
        "http://x\t/",
        "http://x/\x00",
        "http://b\u00fccher/",
        "http://a..b/",
        "http://" + "a" * 64 + ".x/",
        "http://x%2fy/",
        "unix:/run/x.sock",
        "unix:run/x.sock:/mcp",
        "unix:/" + "x" * 107 + ":/mcp",
        "unix:/run/x.sock:/mcp#part",
    ],
)
def test_what_is_not_an_address_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(BadTargetError) as caught:
        target_from(url)
    assert not url or url not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_tls_is_verified_and_at_least_1_2() -> None:
    tls = target_from("https://x/").tls
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname
    assert tls.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_private_authority_takes_the_place_of_the_systems(tmp_path: Path) -> None:
    ca = Authority().write(tmp_path / "ca.pem")
    tls = target_from("https://x/", ca).tls
    assert tls is not None
    assert len(tls.get_ca_certs()) == 1


@pytest.mark.parametrize("content", [None, "", "not a certificate"])
def test_a_ca_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadTargetError, match="CA file"):
        target_from("https://x/", path)


def test_a_ca_file_without_tls_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(BadTargetError, match="https"):
        target_from("http://x/", tmp_path / "ca.pem")


def test_limits_are_kept() -> None:
    assert target_from("http://x/", limits=HttpLimits(connections=3)).limits.connections == 3
    assert target_from("http://x/").limits.connections == 4096


@pytest.mark.parametrize(
    ("host", "meant"),
    [
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.0.0.0x1", "127.0.0.1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("[FE80::0001]", "fe80::1"),
        ("[::]", "names one machine"),
        ("0.0.0.0", "names one machine"),
        ("224.0.0.1", "names one machine"),
        ("crm.internal.", "without a dot"),
        ("1.2.3.4.5", "one way only"),
        ("user@crm", "no user name"),
    ],
)
def test_an_address_is_written_in_one_way_and_told_which(host: str, meant: str) -> None:
    """Row R01: what is judged and what is dialled cannot differ by spelling."""
    with pytest.raises(BadTargetError, match=re.escape(meant)):
        target_from(f"http://{host}:80/mcp")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://CRM.internal/mcp?x=1", "https://crm.internal:443"),
        ("https://crm.internal:443", "https://crm.internal:443"),
        ("http://[::1]/mcp", "http://[::1]:80"),
        ("http://crm:8080/", "http://crm:8080"),
        ("unix:/run/x.sock:/mcp", "unix:/run/x.sock"),
        ("unix:/run/x.sock:/", "unix:/run/x.sock"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_an_origin_is_the_same_for_every_spelling(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_a_client_certificate_needs_https_and_a_key_that_matches(tmp_path: Path) -> None:
    chain, key = Authority().files(tmp_path, "client")
    target = target_from("https://x/", certificate=(chain, key))
    assert target.tls is not None
    with pytest.raises(BadTargetError, match="https"):
        target_from("http://x/", certificate=(chain, key))
    with pytest.raises(BadTargetError, match="no matching certificate and key"):
        target_from("https://x/", certificate=(chain, chain))
    with pytest.raises(BadTargetError, match="No such file"):
        target_from("https://x/", certificate=(chain, tmp_path / "none"))
