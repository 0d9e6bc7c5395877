"""What counts as the answer of a token endpoint."""

from typing import Any

import pytest
from pydantic import SecretStr

from tunnel_client.connect.grant import Grant, tokens
from tunnel_client.errors_connect import LoginMetadataError

GOOD: dict[str, Any] = {"token_type": "bearer", "access_token": "mts_canary", "expires_in": 60}


def test_tokens_are_secrets_with_an_end() -> None:
    access, refresh, expires = tokens(GOOD | {"refresh_token": "mtr_x"}, 1000.0)
    assert (access.get_secret_value(), expires) == ("mts_canary", 1060.0)
    assert refresh is not None
    assert "canary" not in repr(access)


@pytest.mark.parametrize(
    "wrong",
    [
        {"token_type": None},
        {"token_type": "DPoP"},
        {"access_token": ""},
        {"access_token": "a b"},
        {"access_token": "a\r\nX: y"},
        {"access_token": 7},
        {"access_token": "x" * 20_000},
        {"refresh_token": "a\n"},
    ],
)
def test_what_is_no_token_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LoginMetadataError):
        tokens(GOOD | wrong, 0.0)


@pytest.mark.parametrize("seconds", [None, -1, 1e30, "60", [], float("nan")])
def test_an_end_that_makes_no_sense_is_none(seconds: object) -> None:
    assert tokens(GOOD | {"expires_in": seconds}, 0.0)[2] is None


def test_a_renewal_without_a_new_refresh_token_keeps_the_old() -> None:
    grant = Grant("s", "i", "c", "t", None, SecretStr("a"), SecretStr("r"), 100.0)
    renewed = grant.renewed(GOOD, 1000.0)
    assert (renewed.refresh, renewed.access) == (SecretStr("r"), SecretStr("mts_canary"))
    assert grant.is_due(90.0, 30.0)
    assert not renewed.is_due(1000.0, 30.0)
    assert "canary" not in repr(renewed)
