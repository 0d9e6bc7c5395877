"""Servers as resources: one name each, and documents that tell nobody which exist."""

import pytest

from tunnel_relay.identity.resources import (
    origins_by_host,
    resource_metadata,
    server_metadata,
    server_of,
)

ORIGINS = ("https://relay.example.com", "https://other.example.com:8443")


def test_a_server_is_named_by_its_address_at_any_of_our_origins() -> None:
    assert server_of("https://relay.example.com/t/office/git/mcp", ORIGINS) == ("office", "git")
    assert server_of("https://other.example.com:8443/t/a/b/mcp", ORIGINS) == ("a", "b")


@pytest.mark.parametrize(
    "resource",
    [
        "",
        "https://relay.example.com",
        "https://relay.example.com/t/office/git/mcp/",
        "https://relay.example.com/t/office/git/mcp#x",
        "https://relay.example.com/t/office/git/mcp?x",
        "https://relay.example.com.evil.com/t/office/git/mcp",
        "https://relay.example.com:444/t/office/git/mcp",
        "http://relay.example.com/t/office/git/mcp",
        "https://relay.example.com/t/Office/git/mcp",
        "https://relay.example.com/t/../git/mcp",
        "https://relay.example.com/t/office/git/mcp\n",
    ],
)
def test_anything_else_names_no_server(resource: str) -> None:
    assert server_of(resource, ORIGINS) is None


def test_a_host_means_one_of_our_origins_with_and_without_the_default_port() -> None:
    assert origins_by_host(ORIGINS) == {
        "relay.example.com": ORIGINS[0],
        "relay.example.com:443": ORIGINS[0],
        "other.example.com:8443": ORIGINS[1],
    }


def test_the_documents_ask_for_as_little_as_there_is() -> None:
    described = resource_metadata("https://r/t/a/b/mcp", ["https://r"])
    assert described["scopes_supported"] == ["mcp"]
    assert described["bearer_methods_supported"] == ["header"]
    server = server_metadata("https://r", registration=False, documents=True)
    assert server["code_challenge_methods_supported"] == ["S256"]
    assert "registration_endpoint" not in server
    assert server_metadata("https://r", registration=True, documents=True)["registration_endpoint"]
