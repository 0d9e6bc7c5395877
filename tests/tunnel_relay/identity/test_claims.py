"""What tokens say, and when it is believed."""

from typing import Any

import pytest

from tests.tunnel_relay.identity.minting import ISSUER, NOW, RESOURCE, changed
from tunnel_relay.identity.claims import Access, Person, read_access, read_login
from tunnel_relay.identity.signed import TokenError
from tunnel_relay.settings_issuers import IssuerSettings, OidcSettings

RULES = IssuerSettings(url=ISSUER)
LOGIN = OidcSettings(issuer=ISSUER, client_id="relay")


def access(rules: IssuerSettings = RULES, **values: Any) -> Access:
    return read_access(changed(**values), rules, [RESOURCE], NOW)


def login(**values: Any) -> Person:
    return read_login(changed(**{"aud": "relay", "nonce": "n", **values}), LOGIN, "n", NOW)


def test_a_good_token_says_who_with_what_and_until_when() -> None:
    found = access(auth_time=int(NOW) - 60, scope="mcp files")
    assert found.person == Person(ISSUER, "u-1", "Ada", frozenset(("ops", "dev")), NOW - 10)
    assert found.person.key == f"{ISSUER}#u-1"
    assert (found.agent, found.ends, found.logged_in) == ("desk", NOW + 600, NOW - 60)
    assert found.scopes == {"mcp", "files"}
    assert access(scp=["mcp"]).scopes == {"mcp"}
    assert access(aud=["x", RESOURCE]).logged_in is None


def test_where_the_agent_is_named() -> None:
    assert access(client_id=None, azp="other").agent == "other"
    own = IssuerSettings(url=ISSUER, agent_claim="appid")
    assert access(own, appid="app").agent == "app"
    with pytest.raises(TokenError):
        access(own, azp="other")


def test_the_leeway_is_what_is_configured_and_no_more() -> None:
    late, early = int(NOW) - 30, int(NOW) + 30
    wide, narrow = (IssuerSettings(url=ISSUER, leeway=leeway) for leeway in (31, 29))
    assert access(wide, exp=late).ends == NOW + 1
    assert access(wide, nbf=early, iat=early, auth_time=early)
    for values in ({"exp": late}, {"nbf": early}, {"iat": early}, {"auth_time": early}):
        with pytest.raises(TokenError) as caught:
            access(narrow, **values)
        # What is good later is not remembered as bad.
        assert caught.value.lasting is ("exp" in values)


def test_groups_and_names_are_taken_as_far_as_they_can_be_shown() -> None:
    assert access(groups=None).person.groups == frozenset()
    assert access(groups="ops").person.groups == {"ops"}
    assert access(groups=["a", 1, "", "x" * 201, "b\n"]).person.groups == {"a"}
    assert access(name="\u202eadmin").person.name == "u-1"
    for groups in (7, {"a": 1}, ["g"] * 1001):
        with pytest.raises(TokenError):
            access(groups=groups)


def test_an_id_token_is_of_this_login_and_for_this_relay() -> None:
    assert login().key == f"{ISSUER}#u-1"
    assert login(aud=["relay", "other"], azp="relay")
    for values in (
        {"nonce": "m"},
        {"nonce": None},
        {"nonce": 1},
        {"aud": "other"},
        {"aud": ["relay", "other"]},
        {"azp": "other"},
        {"aud": ["relay", "other"], "azp": "other"},
        {"iss": "https://evil.example"},
        {"exp": int(NOW)},
        {"sub": None},
        {"iat": None},
    ):
        with pytest.raises(TokenError):
            login(**values)
