"""What a secret becomes on its way to an upstream, and which secrets cannot go."""

import base64
from typing import Any

import pytest
from pydantic import SecretStr

from tests.tunnel_client.credentials.support import CANARY
from tunnel_client.credentials.inject import (
    UnusableSecretError,
    check_strength,
    environment,
    form,
    headers_for,
    hidden_in_logs,
    same,
    scrubber_for,
    signing_key,
)
from tunnel_client.credentials.settings import CredentialSettings


def credential(**given: Any) -> CredentialSettings:
    return CredentialSettings.model_validate({"origin": "http://h:80", "value": "env:X", **given})


BEARER = credential(kind="bearer")


def test_each_kind_has_its_field() -> None:
    secret = SecretStr(CANARY)
    assert headers_for(BEARER, secret) == [(b"authorization", f"Bearer {CANARY}".encode())]
    named = credential(kind="api_key", name="X-Key")
    assert headers_for(named, secret) == [(b"x-key", CANARY.encode())]
    pair = base64.b64encode(f"svc:{CANARY}".encode())
    basic = credential(kind="basic", user="svc")
    assert headers_for(basic, secret) == [(b"authorization", b"Basic " + pair)]
    assert headers_for(basic, SecretStr("pässwörd")) != []


@pytest.mark.parametrize("bad", ["a\r\nHost: x", "a\nb", "a\0", " xyz", "xyz ", "xy zz", "ä"])
def test_what_cannot_stand_in_a_header_is_refused_without_being_shown(bad: str) -> None:
    with pytest.raises(UnusableSecretError) as caught:
        headers_for(BEARER, SecretStr(bad))
    assert bad not in str(caught.value)


def test_weak_secrets_cannot_be_looked_for() -> None:
    check_strength(SecretStr(CANARY))
    with pytest.raises(UnusableSecretError):
        check_strength(SecretStr("password"))


def test_the_rest_opens_what_others_keep_closed() -> None:
    secret = SecretStr(CANARY)
    assert scrubber_for([secret, secret]).clean(CANARY.encode()) == b"[REDACTED:cred]"
    assert same(secret, SecretStr(CANARY))
    assert not same(secret, SecretStr("x"))
    assert environment({"T": secret}) == {"T": CANARY}
    assert hidden_in_logs({"T": secret, "S": SecretStr("UTC")}) == [CANARY]
    assert form({"a": "1", "b": secret, "c": None}) == {"a": "1", "b": CANARY}
    assert signing_key(secret) == CANARY
