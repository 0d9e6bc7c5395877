"""Who gives a command is bound for as long as it runs."""

from tunnel_relay.admin.acting import OPERATOR, acting, actor, acts_as_admin, confined_to
from tunnel_relay.store.base import Role


def test_the_operator_acts_unless_somebody_else_does() -> None:
    assert actor() == OPERATOR
    with acting("ada", frozenset((Role.ADMIN,))):
        assert actor() == "ada"
        with acting("bob", frozenset()):
            assert actor() == "bob"
        assert actor() == "ada"
    assert actor() == OPERATOR


def test_who_is_no_auditor_sees_only_their_own() -> None:
    assert confined_to() is None
    assert acts_as_admin()
    for role, confined in (
        (Role.USER, True),
        (Role.APPROVER, True),
        (Role.AUDITOR, False),
        (Role.ADMIN, False),
    ):
        with acting("ada", frozenset((role,))):
            assert confined_to() == ("ada" if confined else None)
            assert acts_as_admin() is (role is Role.ADMIN)
