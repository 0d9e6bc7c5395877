"""When the client dials again, when it waits, and when it stops for good."""

import pytest

from shared.errors import AuthError, CloseCode, PeerError
from shared.link.websocket import UpgradeRefusedError
from tunnel_client.errors import ConnectError, DialSettingsError, NotARelayError, StateWriteError
from tunnel_client.reconnect import (
    AT_ONCE_SECONDS,
    MAX_AT_ONCE,
    MAX_SOON,
    MOVED_SECONDS,
    SOON_SECONDS,
    TOLD_EACH,
    GiveUp,
    KeyUse,
    Reconnect,
    RetryIn,
    key_after_close,
)


def test_failures_in_a_row_back_off_to_the_cap() -> None:
    plan = Reconnect()
    waits = [plan.after_error(OSError(), up_for=0, jitter=1.0) for _ in range(8)]
    assert waits == [RetryIn(seconds) for seconds in (0.5, 1, 2, 4, 8, 16, 30, 30)]


def test_only_a_stable_link_clears_the_count() -> None:
    plan = Reconnect(failures=5)
    flapping = plan.after_close(CloseCode.INTERNAL, up_for=29.9, jitter=1.0)
    stable = plan.after_close(CloseCode.INTERNAL, up_for=30.0, jitter=1.0)
    assert (flapping, stable) == (RetryIn(16), RetryIn(0.5))


def test_the_relay_after_one_that_went_is_dialled_at_once() -> None:
    plan = Reconnect(failures=5)
    assert plan.after_close(CloseCode.GOING_AWAY, up_for=1.0, jitter=0.5) == RetryIn(0.05)
    assert plan.failures == 5
    assert plan.after_close(CloseCode.GOING_AWAY, up_for=30.0, jitter=1.0) == RetryIn(MOVED_SECONDS)
    assert plan.failures == 0
    # One that stops does not take the link again: not to be asked over and over.
    refused = [plan.after_close(CloseCode.GOING_AWAY, up_for=0.0, jitter=1.0) for _ in range(3)]
    assert refused == [RetryIn(0.5), RetryIn(1), RetryIn(2)]


def test_a_link_that_can_be_resumed_is_dialled_for_at_once_then_soon_then_as_any_other() -> None:
    plan = Reconnect()
    assert plan.after_cut(up_for=1.0, jitter=1.0) == RetryIn(AT_ONCE_SECONDS)
    hurried = [plan.after_cut(up_for=0.9, jitter=1.0) for _ in range(MAX_SOON + 3)]
    assert hurried[:MAX_AT_ONCE] == [RetryIn(AT_ONCE_SECONDS)] * MAX_AT_ONCE
    assert hurried[MAX_AT_ONCE:MAX_SOON] == [RetryIn(SOON_SECONDS)] * (MAX_SOON - MAX_AT_ONCE)
    assert hurried[MAX_SOON:] == [RetryIn(0.5), RetryIn(1), RetryIn(2)]
    assert plan.after_cut(up_for=1.0, jitter=0.5) == RetryIn(AT_ONCE_SECONDS / 2)


def test_a_stable_link_that_is_cut_or_asked_to_move_clears_the_count() -> None:
    for failures in (TOLD_EACH + 1, MAX_SOON + 1):
        plan = Reconnect(failures=failures)
        plan.after_cut(up_for=29.9, jitter=1.0)
        assert plan.failures == failures
        plan.after_cut(up_for=30.0, jitter=1.0)
        assert plan.news
        assert plan.sooner(RetryIn(30)) == RetryIn(SOON_SECONDS)
        plan = Reconnect(failures=failures)
        assert plan.after_move(up_for=29.9, jitter=1.0) == RetryIn(AT_ONCE_SECONDS)
        assert plan.failures == failures
        plan.after_move(up_for=30.0, jitter=1.0)
        assert plan.failures == 0


def test_calls_that_wait_are_dialled_for_within_a_second_while_that_is_few() -> None:
    plan = Reconnect(failures=MAX_SOON)
    assert plan.sooner(RetryIn(30)) == RetryIn(SOON_SECONDS)
    assert plan.sooner(RetryIn(0.5)) == RetryIn(0.5)
    plan.failures += 1
    assert plan.sooner(RetryIn(30)) == RetryIn(30)


def test_a_relay_with_too_much_to_do_is_left_in_peace_whatever_waits() -> None:
    plan, full = Reconnect(failures=MAX_SOON - 1), UpgradeRefusedError(429)
    waits = [plan.after_error(full, up_for=0, jitter=1.0) for _ in range(8)]
    # It answers, so that an outage before that does not count.
    seconds = [0.5, 1, 2, 4, 8, 8, 8, 8]
    assert waits == [RetryIn(each, crowded=True) for each in seconds]
    for each in waits:
        assert isinstance(each, RetryIn)
        assert plan.sooner(each) == each


@pytest.mark.parametrize("status", [503, 502, 404])
def test_another_refusal_is_a_failure_as_any_other(status: int) -> None:
    plan = Reconnect(failures=2)
    assert plan.after_error(UpgradeRefusedError(status), up_for=0, jitter=1.0) == RetryIn(2)


def test_refusals_are_counted_apart_until_a_link_is_made() -> None:
    plan, full = Reconnect(), UpgradeRefusedError(429)
    for seconds in (0.5, 1, 2):
        refused = plan.after_error(full, up_for=0, jitter=1.0)
        assert refused == RetryIn(seconds, crowded=True)
        # Another address is down, or this one had a place and dropped us again.
        assert plan.sooner(RetryIn(9)) == RetryIn(SOON_SECONDS)
        plan.after_error(OSError(), up_for=0, jitter=1.0)
    assert plan.after_close(CloseCode.INTERNAL, up_for=0, jitter=1.0) == RetryIn(4)
    plan.made()
    assert plan.after_error(full, up_for=0, jitter=1.0) == RetryIn(0.5, crowded=True)
    assert plan.after_error(OSError(), up_for=0, jitter=1.0) == RetryIn(8)
    plan.forget()
    assert plan.after_error(full, up_for=0, jitter=1.0) == RetryIn(0.5, crowded=True)
    assert plan.after_error(OSError(), up_for=0, jitter=1.0) == RetryIn(0.5)


def test_of_many_refusals_in_a_row_fewer_and_fewer_are_news() -> None:
    plan, news = Reconnect(), []
    for _ in range(TOLD_EACH + 8):
        plan.after_error(UpgradeRefusedError(429), up_for=0, jitter=1.0)
        news.append(plan.news)
    assert news == [True] * TOLD_EACH + [False] * 7 + [True]


@pytest.mark.parametrize(
    ("code", "key", "says"),
    [
        (CloseCode.REVOKED, KeyUse.OURS, "MT2501"),
        (CloseCode.REVOKED, KeyUse.CONTESTED, "MT2501"),
        (CloseCode.REVOKED, KeyUse.REFUSED, "MT2502"),
        (CloseCode.REPLACED, KeyUse.REFUSED, "MT2502"),
    ],
)
def test_a_revoked_or_locked_key_ends_the_client(code: CloseCode, key: KeyUse, says: str) -> None:
    end = Reconnect().after_close(code, up_for=3600, jitter=0.0, key=key)
    assert isinstance(end, GiveUp)
    assert end.exit_code == 77
    assert end.reason.startswith(says)
    assert "tunnel-client enroll" in end.reason


@pytest.mark.parametrize("code", [*CloseCode, 1006])
@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize("known", list(KeyUse))
def test_what_a_close_tells_of_the_key(known: KeyUse, made: bool, code: int) -> None:
    told: dict[tuple[KeyUse, bool, int], KeyUse] = {
        (KeyUse.OURS, True, CloseCode.REPLACED): KeyUse.CONTESTED,
        (KeyUse.OURS, False, CloseCode.REPLACED): KeyUse.REFUSED,
        (KeyUse.CONTESTED, False, CloseCode.REPLACED): KeyUse.REFUSED,
        (KeyUse.CONTESTED, False, CloseCode.REVOKED): KeyUse.REFUSED,
    }
    assert key_after_close(known, code, made=made) is told.get((known, made, code), known)


def test_who_was_taken_over_shows_its_counter_at_once_and_never_hammers() -> None:
    plan, taken = Reconnect(), CloseCode.REPLACED
    again = plan.after_close(taken, up_for=3600, jitter=1.0, key=KeyUse.CONTESTED)
    assert again == RetryIn(AT_ONCE_SECONDS)
    for _ in range(MAX_SOON):
        plan.after_close(taken, up_for=0.1, jitter=1.0, key=KeyUse.CONTESTED)
    late = [plan.after_close(taken, up_for=0.1, jitter=1.0, key=KeyUse.CONTESTED) for _ in "abc"]
    assert late == [RetryIn(0.5), RetryIn(1), RetryIn(2)]


def test_a_relay_that_cannot_prove_itself_ends_the_client() -> None:
    end = Reconnect().after_error(AuthError("bad signature"), up_for=0, jitter=0.0)
    assert isinstance(end, GiveUp)
    assert (end.exit_code, end.reason[:6]) == (77, "MT2503")


def test_a_key_the_relay_does_not_know_is_tried_again_but_never_hammered() -> None:
    plan = Reconnect()
    assert plan.after_close(CloseCode.POLICY, up_for=0, jitter=0.0) == RetryIn(15)
    assert plan.after_close(CloseCode.POLICY, up_for=0, jitter=1.0) == RetryIn(30)


@pytest.mark.parametrize(
    "error",
    [
        OSError(),
        TimeoutError(),
        PeerError("garbled"),
        ConnectError("down"),
        NotARelayError("an echo"),
        StateWriteError("full"),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    assert isinstance(Reconnect().after_error(error, up_for=0, jitter=0.5), RetryIn)


def test_what_only_a_person_can_mend_ends_the_client() -> None:
    end = Reconnect().after_error(DialSettingsError("no CA file"), up_for=0, jitter=0.5)
    assert isinstance(end, GiveUp)
    assert end.exit_code == 78
    assert "no CA file" in end.reason


def test_settings_that_made_a_link_once_are_tried_again_whatever_a_file_says_now() -> None:
    plan, error = Reconnect(), DialSettingsError("cannot read CA file")
    waits = [plan.after_error(error, up_for=0, jitter=1.0, linked=True) for _ in range(3)]
    assert waits == [RetryIn(0.5), RetryIn(1), RetryIn(2)]
    unproven = plan.after_error(AuthError("bad signature"), up_for=0, jitter=1.0, linked=True)
    assert isinstance(unproven, GiveUp)


def test_of_many_failures_in_a_row_fewer_and_fewer_are_told() -> None:
    plan, told = Reconnect(), []
    for time in range(1, 201):
        plan.after_error(OSError(), up_for=0.0, jitter=0.5)
        if plan.news:
            told.append(time)
    assert told == [1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 192]
    plan.after_error(OSError(), up_for=60.0, jitter=0.5)
    assert plan.news


def test_a_relay_that_takes_no_more_links_may_do_so_later() -> None:
    ended = Reconnect().after_close(CloseCode.TOO_MANY, up_for=0, jitter=1.0)
    assert isinstance(ended, GiveUp)
    assert (ended.exit_code, ended.no_place) == (78, True)
    revoked = Reconnect().after_close(CloseCode.REVOKED, up_for=0, jitter=1.0)
    assert isinstance(revoked, GiveUp)
    assert not revoked.no_place
