"""What the configuration may say of issuers and providers."""

import pytest
from pydantic import ValidationError

from tunnel_relay.errors import RelayError
from tunnel_relay.settings import Settings, parse_settings
from tunnel_relay.settings_issuers import (
    MAX_URL,
    IssuerSettings,
    OidcSettings,
    is_provider_url,
)

SMALLEST = 'public_url = "https://relay.example.com"\nstate_dir = "/var/lib/x"\n'
ISSUER = """
[[issuer]]
url = "https://idp.example.com/realms/a"
scope = "mcp tools"
servers = ["office/wiki"]
[[issuer.allow]]
group = "ops"
servers = ["office/*"]
roles = ["auditor"]
"""


def read(text: str) -> Settings:
    return parse_settings(SMALLEST + text, "relay.toml", {})


def report(text: str) -> str:
    with pytest.raises(RelayError) as caught:
        read(text)
    return caught.value.message


def test_an_issuer_and_its_rules_are_read() -> None:
    settings = read(ISSUER)
    (issuer,) = settings.issuer
    assert issuer.allow[0].servers == ("office/*",)
    assert issuer.algorithms == ("RS256", "ES256", "EdDSA", "PS256")
    assert settings.authorization_servers == (issuer.url, "https://relay.example.com")
    assert settings.scopes == ("mcp", "tools")


def test_without_our_own_server_agents_are_sent_to_issuers_only() -> None:
    settings = read("[oauth]\nenabled = false\n" + ISSUER)
    assert settings.authorization_servers == ("https://idp.example.com/realms/a",)
    assert (
        read("[oauth]\nenabled = false\n" + ISSUER.replace('scope = "mcp tools"', "")).scopes == ()
    )


def test_an_unknown_key_in_a_rule_is_told_with_its_line() -> None:
    said = report(ISSUER.replace('group = "ops"', 'grup = "ops"'))
    assert "relay.toml:8" in said
    assert "did you mean issuer[0].allow[0].group?" in said


@pytest.mark.parametrize(
    "line",
    [
        'url = "http://idp.example.com"',
        'url = "https://idp.example.com/#x"',
        'url = "https://idp.example.com/?a=b"',
        'url = "https://user@idp.example.com"',
        f'url = "https://{"a" * MAX_URL}.example"',
        'url = "https://i"\njwks_url = "http://10.0.0.1/keys"',
        'url = "https://i"\nalgorithms = ["none"]',
        'url = "https://i"\nalgorithms = ["HS256"]',
        'url = "https://i"\nalgorithms = []',
        'url = "https://i"\nleeway = 61',
        'url = "https://i"\nleeway = -1',
        'url = "https://i"\nscope = "a  b"',
        'url = "https://i"\nscope = "a\\"b"',
        'url = "https://i"\nservers = ["office"]',
        'url = "https://i"\nservers = ["*/git"]',
        'url = "https://i"\nallow = [{group = "g", servers = ["Office/git"]}]',
        'url = "https://i"\nallow = [{group = "g", roles = ["root"]}]',
        'url = "https://i"\nallow = [{servers = ["office/git"]}]',
        'url = "https://i"\nca_file = "ca.pem"',
        'url = "https://i"\n[[issuer]]\nurl = "https://i"',
        'url = "https://relay.example.com"',
    ],
)
def test_what_an_issuer_may_not_be(line: str) -> None:
    assert "issuer" in report(f"[[issuer]]\n{line}\n")


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://idp.example.com/", True),
        ("http://localhost:8080", True),
        ("http://[::1]:1/a", True),
        ("http://0x7f000001/", False),
        ("http://127.1/", False),
        ("http://localhost.evil.example", False),
        ("https:///a", False),
        ("https://a\n", False),
        ("https://a:b", False),
    ],
)
def test_r01_http_is_for_loopback_only_however_it_is_written(url: str, good: bool) -> None:
    assert is_provider_url(url) is good


def test_a_provider_for_logins() -> None:
    settings = read('[oidc]\nissuer = "https://i"\nclient_id = "r"\nclient_secret = "env:S"\n')
    assert settings.oidc is not None
    assert str(settings.oidc.client_secret) == "env:S"
    assert "never the secret itself" in report(
        '[oidc]\nissuer = "https://i"\nclient_id = "r"\nclient_secret = "hunter2"\n'
    )
    with pytest.raises(ValidationError):
        OidcSettings(issuer="https://i", client_id="r", scopes=("profile",))
    with pytest.raises(ValidationError):
        IssuerSettings(url="https://i", audience=" padded")
    nobody = '[oidc]\nissuer = "https://i"\nclient_id = "r"\n[oauth]\nenabled = false\n'
    assert "nobody could log in" in report(nobody)
