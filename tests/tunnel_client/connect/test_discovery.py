"""A server's words about its login are believed no further than they fit together (R04)."""

import ssl
from typing import Any

import pytest

from tests.helpers.oauth_server import METADATA, PRM, oauth_server
from tunnel_client.connect.address import WebUrl
from tunnel_client.connect.discovery import discover, json_object
from tunnel_client.errors_connect import LoginMetadataError

TRUST = ssl.create_default_context()
EVIL = "https://evil.example"


async def test_the_login_is_found_by_challenge_and_by_well_known_path() -> None:
    async with oauth_server() as server:
        url = WebUrl.parse(server.url)
        named = f'Bearer scope="mcp", resource_metadata="{server.origin}{PRM}"'
        found = await discover(url, named, TRUST)
        assert (found.issuer, found.token.text) == (server.origin, f"{server.origin}/token")
        assert (found.scope, found.names_itself) == ("mcp", True)
        server.said[PRM] = {"scopes_supported": ["a", "b"]}
        assert (await discover(url, "Bearer", TRUST)).scope == "a b"


@pytest.mark.parametrize(
    ("path", "lie"),
    [
        (PRM, {"resource": f"{EVIL}/mcp"}),
        (PRM, {"resource": None}),
        (PRM, {"authorization_servers": []}),
        (PRM, {"authorization_servers": ["http://169.254.169.254/latest"]}),
        (PRM, {"authorization_servers": ["file:///etc/passwd"]}),
        (METADATA, {"issuer": EVIL}),
        (METADATA, {"code_challenge_methods_supported": None}),
        (METADATA, {"code_challenge_methods_supported": ["plain"]}),
        (METADATA, {"token_endpoint": "http://relay.example/token"}),
        (METADATA, {"token_endpoint": None}),
        (METADATA, {"registration_endpoint": "ftp://relay.example/"}),
        (METADATA, {"authorization_endpoint": "javascript:alert(1)"}),
        (METADATA, {"authorization_endpoint": "http://a$(calc)/"}),
        (METADATA, {"authorization_endpoint": "https://a/$(calc)"}),
        (METADATA, {"authorization_endpoint": "https://a/'&calc.exe&'"}),
        (METADATA, {"authorization_endpoint": "https://user:pw@a/"}),
    ],
)
async def test_what_does_not_fit_is_refused(path: str, lie: dict[str, Any]) -> None:
    """R04: CVE-2025-6514."""
    async with oauth_server() as server:
        server.said[path] = lie
        with pytest.raises(LoginMetadataError):
            await discover(WebUrl.parse(server.url), "Bearer", TRUST)
        assert server.asked == []


@pytest.mark.parametrize(
    "named", [f"{EVIL}/x", "http://127.0.0.1:1/.well-known/x", "file:///etc/passwd", "https://[::"]
)
async def test_metadata_of_another_origin_is_not_even_fetched(named: str) -> None:
    """R04."""
    async with oauth_server() as server:
        challenge = f'Bearer resource_metadata="{named}"'
        with pytest.raises(LoginMetadataError):
            await discover(WebUrl.parse(server.url), challenge, TRUST)


async def test_a_huge_document_and_a_redirect_are_no_metadata() -> None:
    """R03, R04."""
    async with oauth_server() as server:
        url = WebUrl.parse(server.url)
        server.said[PRM] = {"filler": "x" * 70_000}
        with pytest.raises(Exception, match="too large"):
            await discover(url, "Bearer", TRUST)
        elsewhere = f'Bearer resource_metadata="{server.origin}/authorize?state=s&redirect_uri=/x"'
        with pytest.raises(LoginMetadataError, match="303"):
            await discover(url, elsewhere, TRUST)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"a":1,"a":2}', b"\xff"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(LoginMetadataError):
        json_object(body)
