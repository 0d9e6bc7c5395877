"""Each request state is good once, for what it was handed out for, for a while (row S20)."""

from tunnel_relay.gateway.states import MAX_OF_SESSION, STATE_SECONDS, States

NOW = 5.0
CALL = ("tools/call", "deploy")


def test_s20_a_state_is_good_once() -> None:
    states = States()
    states.hand("s", CALL, "blob", NOW)
    assert states.take("s", CALL, "blob", NOW + 1)
    assert states.take("s", CALL, "blob", NOW + 1) is None


def test_s20_what_was_not_handed_to_this_session_for_this_is_no_good() -> None:
    states = States()
    states.hand("s", CALL, "blob", NOW)
    assert states.take("other", CALL, "blob", NOW) is None
    assert states.take("s", CALL, "blob-TAMPERED", NOW) is None
    assert states.take("s", CALL, "", NOW) is None
    for what in (("tools/call", "other"), ("prompts/get", "deploy"), ("tools/call", None)):
        states.hand("s", CALL, "blob", NOW)
        assert states.take("s", what, "blob", NOW) is None


def test_s20_a_state_ends() -> None:
    states = States()
    states.hand("s", CALL, "a", NOW)
    states.hand("s", CALL, "b", NOW)
    assert states.take("s", CALL, "a", NOW + STATE_SECONDS - 1)
    assert states.take("s", CALL, "b", NOW + STATE_SECONDS) is None


def test_what_a_call_that_was_never_sent_used_up_is_good_again_until_the_same_end() -> None:
    states = States()
    states.hand("s", CALL, "blob", NOW)
    ends = states.take("s", CALL, "blob", NOW + 1)
    assert ends is not None
    states.give_back("s", CALL, "blob", ends)
    assert states.take("s", CALL, "blob", ends) is None
    states.give_back("s", CALL, "blob", ends)
    assert states.take("s", CALL, "blob", ends - 1) == ends


def test_the_oldest_of_too_many_is_forgotten() -> None:
    states = States()
    for at in range(MAX_OF_SESSION + 1):
        states.hand("s", CALL, str(at), NOW)
    assert states.take("s", CALL, "0", NOW) is None
    assert states.take("s", CALL, "1", NOW)
    assert states.take("s", CALL, str(MAX_OF_SESSION), NOW)


def test_what_is_over_takes_no_room() -> None:
    states = States()
    states.hand("early", CALL, "a", NOW)
    states.hand("late", CALL, "a", NOW + 10)
    states.hand("early", CALL, "b", NOW + 20)
    states.forget(NOW + 15 + STATE_SECONDS)
    assert states.take("late", CALL, "a", NOW + 11) is None
    assert states.take("early", CALL, "b", NOW + 21)
    states.forget(NOW + 21 + STATE_SECONDS)
    assert len(states) == 0
