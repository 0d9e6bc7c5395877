"""Who gives a command is bound for as long as it runs."""

from tunnel_relay.admin.acting import OPERATOR, acting, actor
from tunnel_relay.store.base import Role


def test_the_operator_acts_unless_somebody_else_does() -> None:
    assert actor() == OPERATOR
    with acting("ada", frozenset((Role.ADMIN,))):
        assert actor() == "ada"
        with acting("bob", frozenset()):
            assert actor() == "bob"
        assert actor() == "ada"
    assert actor() == OPERATOR
