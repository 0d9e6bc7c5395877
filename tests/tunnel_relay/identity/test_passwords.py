"""A password is verified, never kept; and an account that is not there takes as long."""

import pytest
from pydantic import SecretStr

from tunnel_relay.identity.passwords import _HASHER, _NOBODY, Passwords, acceptable

RIGHT = SecretStr("correct horse battery")


async def test_the_right_password_is_recognised_and_no_other() -> None:
    passwords = Passwords()
    stored = await passwords.hash(RIGHT)
    assert RIGHT.get_secret_value() not in stored
    assert stored.startswith("$argon2id$")
    assert await passwords.verify(stored, RIGHT)
    assert not await passwords.verify(stored, SecretStr("correct horse batterz"))
    assert not await passwords.verify(stored, SecretStr("x" * 5000))


async def test_no_password_opens_an_account_without_one() -> None:
    passwords = Passwords()
    for attempt in ("", "no account has this password: it is verified where there is none"):
        assert not await passwords.verify(None, SecretStr(attempt))
    assert not await passwords.verify("not a hash", RIGHT)


def test_an_account_that_is_not_there_costs_what_others_do() -> None:
    assert not _HASHER.check_needs_rehash(_NOBODY)


@pytest.mark.parametrize(
    ("text", "good"), [("short", False), ("x" * 10, True), ("x" * 1025, False)]
)
def test_length_is_what_counts(text: str, good: bool) -> None:
    assert acceptable(SecretStr(text)) is good
