"""Every code is explained, and never changes."""

from tunnel_relay.errors import EXPLAINED, Code, RelayError


def test_every_code_has_a_cause_a_next_command_and_an_exit_code() -> None:
    assert set(EXPLAINED) == set(Code)
    for explained in EXPLAINED.values():
        assert explained.cause
        assert explained.next
        assert explained.exit_code in (1, 2, 69, 77, 78)


def test_codes_are_unique_and_the_relays() -> None:
    assert len({code.value for code in Code}) == len(Code)
    assert all(code.value.startswith("MT1") and len(code.value) == 6 for code in Code)


def test_an_error_carries_its_explanation() -> None:
    error = RelayError(Code.TUNNEL_UNKNOWN, "no tunnel is called 'x'")
    assert str(error) == "no tunnel is called 'x'"
    assert error.explained.next == "tunnel-relay tunnel list"
    known = RelayError(Code.TUNNEL_UNKNOWN, "none", cause="so it is", then="do that").explained
    assert (known.cause, known.next) == ("so it is", "do that")
    assert known.exit_code == error.explained.exit_code
