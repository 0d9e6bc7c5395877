"""Admin tokens are found while they work."""

from shared.ids import ADMIN_PREFIX, new_token, token_digest
from tunnel_relay.admin_tokens import AdminTokens
from tunnel_relay.store.base import AdminToken

TEXT = new_token(ADMIN_PREFIX)
TOKEN = AdminToken("a" * 32, token_digest(TEXT), "ada", "test", 0.0, 100.0)


def test_a_token_works_until_it_ends_and_the_clock_revives_nothing() -> None:
    tokens = AdminTokens()
    tokens.put(TOKEN)
    assert tokens.find(TEXT, 99.0) is TOKEN
    assert tokens.find(TEXT, 100.0) is None
    assert tokens.find(TEXT, 50.0) is None
    assert tokens.working(50.0) == []
    assert tokens.of_user("ada") == [TOKEN]


def test_only_what_is_an_admin_token_is_looked_up() -> None:
    tokens = AdminTokens()
    text = new_token("mts_")
    tokens.put(AdminToken("b" * 32, token_digest(text), "ada", "test", 0.0, 100.0))
    assert tokens.find(text, 1.0) is None
    assert tokens.find("mta_", 1.0) is None
    assert tokens.find("mta_\udcff" + "a" * 42, 1.0) is None


def test_dropped_tokens_are_gone() -> None:
    tokens = AdminTokens()
    tokens.put(TOKEN)
    assert tokens.working(1.0, "abe") == []
    tokens.drop(tokens.working(1.0, "ada"))
    tokens.drop([TOKEN])
    assert tokens.find(TEXT, 1.0) is None
    assert "digest" not in repr(TOKEN)
