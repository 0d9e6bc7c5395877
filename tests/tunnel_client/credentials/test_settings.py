"""[upstream.credential] and [vault]: what they may say, and that they never show a secret."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tunnel_client.credentials.settings import (
    BadUserError,
    CredentialSettings,
    Place,
    VaultSettings,
)

ORIGIN = {"origin": "https://crm:443"}
GOOD: list[dict[str, Any]] = [
    {"kind": "bearer", "value": "env:TOKEN"},
    {"kind": "bearer", "value": "file:/etc/creds/{user}.token"},
    {"kind": "bearer", "users": {"ada": "env:ADA"}},
    {"kind": "header", "name": "X-Login", "value": "credential:crm"},
    {"kind": "api_key", "name": "x-api-key", "value": "vault:secret/crm#key"},
    {"kind": "basic", "user": "svc", "value": {"command": ["/usr/bin/pass", "crm"]}},
    {"kind": "mtls", "cert_file": "c.pem", "key_file": "k.pem"},
    {
        "kind": "client_credentials",
        "token_url": "https://login/token",
        "client_id": "x",
        "client_secret": "env:S",
        "scope": "crm",
        "resource": "https://crm",
    },
    {
        "kind": "token_exchange",
        "token_url": "http://127.0.0.1:8/token",
        "client_id": "x",
        "client_secret": "env:S",
        "assertion_key": "k.pem",
        "assertion_issuer": "tunnel",
    },
    {
        "kind": "token_exchange",
        "token_url": "https://login/token",
        "client_id": "x",
        "client_secret": "env:S",
        "value": "file:/creds/{user}.jwt",
    },
]


@pytest.mark.parametrize("given", GOOD)
def test_each_kind_is_read(given: dict[str, Any]) -> None:
    settings = CredentialSettings.model_validate(ORIGIN | given)
    assert settings.scrub
    per_user = "{user}" in str(given) or "users" in given or "assertion_key" in given
    assert settings.per_user is per_user


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"kind": "bearer"}, "bearer needs value"),
        ({"kind": "query", "value": "env:X"}, "Input should be"),
        ({"kind": "header", "value": "env:X"}, "header needs name"),
        ({"kind": "header", "name": "Host", "value": "env:X"}, "not the name of a header"),
        ({"kind": "header", "name": "a b", "value": "env:X"}, "not the name of a header"),
        ({"kind": "bearer", "value": "hush-hush-hush"}, "never the secret itself"),
        ({"kind": "bearer", "value": "env:{user}"}, "{user} goes with"),
        ({"kind": "bearer", "value": "vault:secret#x"}, "vault:MOUNT/PATH#FIELD"),
        ({"kind": "bearer", "value": "vault:a/../b#x"}, "vault:MOUNT/PATH#FIELD"),
        ({"kind": "bearer", "value": "vault:a/b?c#x"}, "vault:MOUNT/PATH#FIELD"),
        ({"kind": "bearer", "value": {"command": ["pass"]}}, "a command is"),
        ({"kind": "bearer", "value": {"command": "pass x"}}, "a command is"),
        ({"kind": "bearer", "value": {"command": []}}, "a command is"),
        ({"kind": "bearer", "value": "env:X", "user": "a"}, "user does not go with bearer"),
        ({"kind": "basic", "user": "a:b", "value": "env:X"}, "no colon"),
        ({"kind": "bearer", "value": "env:X", "users": {"a": "env:A"}}, "none gets the secret"),
        ({**GOOD[7], "token_url": "http://login/token"}, "https only"),
        ({**GOOD[7], "token_url": "ftp://login/token"}, "https only"),
        ({**GOOD[7], "client_secret": "file:/x/{user}"}, "one for all users"),
        ({**GOOD[8], "value": "env:X"}, "either value"),
        ({**GOOD[8], "assertion_issuer": None}, "needs assertion_issuer"),
        ({"kind": "mtls", "cert_file": "c"}, "mtls needs key_file"),
    ],
)
def test_what_makes_no_sense_is_refused_without_repeating_it(
    given: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        CredentialSettings.model_validate(ORIGIN | given)
    assert why in str(caught.value)
    assert "hush-hush" not in str(caught.value)


def test_an_origin_has_to_be_given() -> None:
    with pytest.raises(ValidationError, match="origin"):
        CredentialSettings.model_validate({"kind": "bearer", "value": "env:X"})


def test_a_users_name_becomes_part_of_a_place_only_when_it_cannot_lead_elsewhere() -> None:
    """No slash, no dots in a row, nothing odd: the name comes from the relay."""
    place = Place.parse("file:/creds/{user}.token")
    assert str(place.of("ada@example.org")) == "file:/creds/ada@example.org.token"
    assert str(Place.parse("vault:kv/u/{user}#t").of("a-b")) == "vault:kv/u/a-b#t"
    assert Place.parse({"command": ["/bin/get", "{user}"]}).of("ada").command == (
        "/bin/get",
        "ada",
    )
    for name in ("..", ".", "a/b", "../x", "", "a\0", "a\n", "-a", "ä", "a..b", "a" * 129, "a b"):
        with pytest.raises(BadUserError):
            place.of(name)


def test_relative_paths_stand_beside_the_configuration() -> None:
    settings = CredentialSettings.model_validate(
        ORIGIN | {"kind": "mtls", "cert_file": "c.pem", "key_file": "/k.pem"}
    ).below(Path("/etc/x"))
    assert (settings.cert_file, settings.key_file) == (Path("/etc/x/c.pem"), Path("/k.pem"))
    assert str(Place.parse("file:t").below(Path("/etc/x"))) == "file:/etc/x/t"
    assert str(Place.parse("env:T").below(Path("/etc/x"))) == "env:T"


@pytest.mark.parametrize(
    ("given", "good"),
    [
        ({"token": "env:T"}, True),
        ({"role_id": "env:R", "secret_id": "env:S"}, True),
        ({"role_id": "env:R"}, False),
        ({}, False),
        ({"token": "env:T", "secret_id": "env:S"}, False),
    ],
)
def test_a_vault_has_one_login(given: dict[str, str], good: bool) -> None:
    vault = {"address": "https://vault:8200", **given}
    if good:
        VaultSettings.model_validate(vault)
    else:
        with pytest.raises(ValidationError, match="either token"):
            VaultSettings.model_validate(vault)
