"""Who may open a session for what: what is not written down is denied."""

import pytest

from tunnel_relay.directory import Directory, may_open, server_matches
from tunnel_relay.store.base import Agent, AgentKind, Role, Tunnel, User

OFFICE = Tunnel("office", "ada", 0.0)


@pytest.mark.parametrize(
    ("servers", "may"),
    [
        ((), False),
        (("office/git",), True),
        (("office/*",), True),
        (("*",), True),
        (("home/*", "office/gi"), False),
        (("office/git2", "offic/*", "*/git"), False),
    ],
)
def test_a_user_may_open_what_is_written_down(servers: tuple[str, ...], may: bool) -> None:
    assert may_open(User("bob", "Bob", 0.0, servers=servers), OFFICE, "git") is may


def test_an_owner_may_and_a_disabled_one_may_not() -> None:
    assert may_open(User("ada", "Ada", 0.0), OFFICE, "git")
    assert not may_open(User("ada", "Ada", 0.0, servers=("*",), disabled=1.0), OFFICE, "git")
    assert server_matches("*", "a", "b")


def test_a_user_of_another_issuer_is_not_a_local_one_of_that_name() -> None:
    theirs = User("https://idp.example.com#ada", "Ada", 0.0)
    assert (theirs.issuer, theirs.subject) == ("https://idp.example.com", "ada")
    assert not may_open(theirs, OFFICE, "git")
    assert (User("ada", "", 0.0).issuer, User("ada", "", 0.0).subject) == ("local", "ada")


def test_what_is_switched_off_is_refused_and_what_is_unknown_is_not() -> None:
    off = Agent("claude", "Claude", AgentKind.REGISTERED, ("https://a/b",), 0.0, disabled=1.0)
    directory = Directory([User("bob", "Bob", 0.0, disabled=1.0)], [off])
    assert directory.refuses("bob", "x")
    assert directory.refuses("x", "claude")
    assert not directory.refuses("x", "x")
    assert directory.active_user("bob") is None
    assert directory.active_agent("claude") is None
    assert directory.owner_is_off(Tunnel("t", "bob", 0.0))
    assert not directory.owner_is_off(OFFICE)


def test_a_disabled_admin_is_none() -> None:
    on = User("a", "A", 0.0, roles=(Role.USER, Role.ADMIN))
    off = User("b", "B", 0.0, roles=(Role.ADMIN,), disabled=1.0)
    assert Directory([on, off, User("c", "C", 0.0)]).admins() == [on]
