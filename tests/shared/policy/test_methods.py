"""Every method of MCP has its place."""

from shared.jsonrpc import methods as known
from shared.policy.methods import FREE, FROM_SERVER, IMPLIED, NAMED_BY, RULED


def test_whatever_an_agent_may_send_needs_a_rule_or_has_a_reason_why_not() -> None:
    sent = known.LEGACY_REQUESTS | known.MODERN_REQUESTS | known.NOTIFICATIONS
    assert sent == (RULED - FROM_SERVER) | FREE.keys()
    assert not RULED & FREE.keys()
    assert all(FREE.values())


def test_names_belong_to_methods_that_need_a_rule() -> None:
    for kind, methods in IMPLIED.items():
        assert methods <= NAMED_BY[kind] <= RULED
