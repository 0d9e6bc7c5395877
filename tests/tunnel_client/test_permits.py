"""A permit is good for the one call it names, once, whatever happens in between."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shared.keys import PrivateKey, key_fingerprint
from shared.permit import Permit, PermitError, Signed, approver_message
from tests.shared.test_permit import PERMIT
from tunnel_client import permits as module
from tunnel_client.errors import ClientError
from tunnel_client.errors_upstreams import PermitFileError
from tunnel_client.permits import FILE, MAX_LIFE, Expectation, Permits

RELAY, PIA, PAUL = (PrivateKey.generate() for _ in range(3))
EXPECTED = Expectation(
    session=PERMIT.session,
    user=PERMIT.user,
    agent=PERMIT.agent,
    server=PERMIT.server,
    tool=PERMIT.tool,
    definition=PERMIT.definition,
    arguments=PERMIT.arguments,
    policy=PERMIT.policy,
    tool_class=PERMIT.tool_class,
    count=1,
    not_requester=True,
    keys=(),
    relay_key=RELAY.public,
)
BY_PIA = replace(EXPECTED, keys=(PIA.public, PAUL.public))


def vouched(permit: Permit = PERMIT, *approvers: str) -> str:
    return Signed(permit, approvers or ("pia",), {}).vouched(RELAY).text()


def by_keys(*keys: PrivateKey, permit: Permit = PERMIT) -> str:
    made = {key_fingerprint(key.public): key.sign(approver_message(permit)) for key in keys}
    return Signed(permit, ("pia",), made).text()


def numbered(number: int) -> Permit:
    return replace(PERMIT, id=f"{number:032x}")


def at(now: float) -> Callable[[], float]:
    return lambda: now


@pytest.fixture
def state(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def opened(state: Path, now: float = 1_500.0) -> Permits:
    return Permits.open(state, at(now))


def kind(permits: Permits, text: str, expected: Expectation = EXPECTED) -> str:
    with pytest.raises(PermitError) as caught:
        permits.use(text, expected)
    return caught.value.kind


def test_a_permit_is_used_once_and_a_restart_remembers(state: Path) -> None:
    """P22."""
    permits = opened(state)
    assert permits.use(vouched(), EXPECTED) == PERMIT
    assert kind(permits, vouched()) == "used"
    permits.close()
    again = opened(state)
    assert kind(again, vouched()) == "used"
    assert again.use(vouched(numbered(5)), EXPECTED).id == numbered(5).id
    assert (state / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name",
    [
        *("session", "user", "agent", "server", "tool"),
        *("definition", "arguments", "policy", "tool_class"),
    ],
)
def test_a_permit_for_anything_else_is_refused_and_stays_unused(state: Path, name: str) -> None:
    """P20, P26, P40: the client compares every field with what it knows itself."""
    permits = opened(state)
    assert kind(permits, vouched(), replace(EXPECTED, **{name: "x"})) == name  # type: ignore[arg-type]
    permits.use(vouched(), EXPECTED)


def test_a_permit_ends_by_the_clients_own_clock(state: Path) -> None:
    """P23."""
    assert kind(opened(state, 1_900.0), vouched()) == "expired"
    far = replace(PERMIT, expires=int(1_500 + MAX_LIFE) + 1)
    assert kind(opened(state), vouched(far)) == "lives too long"


def test_where_keys_are_listed_not_even_the_relay_can_make_a_permit(state: Path) -> None:
    """T32."""
    permits = opened(state)
    assert kind(permits, vouched(), BY_PIA) == "signature"
    assert kind(permits, by_keys(RELAY), BY_PIA) == "signature"
    assert kind(permits, by_keys(PIA), replace(BY_PIA, count=2)) == "signature"
    permits.use(by_keys(PIA, PAUL), replace(BY_PIA, count=2))


def test_without_keys_the_relay_has_to_vouch_for_enough_others(state: Path) -> None:
    permits = opened(state)
    assert kind(permits, by_keys(PIA)) == "signature"
    assert kind(permits, vouched(), replace(EXPECTED, count=2)) == "signature"
    assert kind(permits, vouched(PERMIT, "uma")) == "requester"
    permits.use(vouched(PERMIT, "uma"), replace(EXPECTED, not_requester=False))


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é", "." * 50, "x" * 9000])
def test_what_is_no_permit_is_refused(state: Path, text: str) -> None:
    assert kind(opened(state), text) == "malformed"


def test_an_identifier_that_is_not_one_is_never_written(state: Path) -> None:
    permits = opened(state)
    for odd in ("", "../x", "1 2", "1\n2", "G" * 32):
        assert kind(permits, vouched(replace(PERMIT, id=odd))) == "malformed"
    assert (state / FILE).read_text() == ""


def test_of_fifty_threads_one_uses_it(state: Path) -> None:
    """P22."""
    permits, used, refused = opened(state), [], []
    start = threading.Barrier(50)

    def use() -> None:
        start.wait()
        try:
            used.append(permits.use(vouched(), EXPECTED))
        except PermitError as error:
            refused.append(error.kind)

    threads = [threading.Thread(target=use) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (used, refused) == ([PERMIT], ["used"] * 49)


USE_AND_HANG = """
import sys, time
from pathlib import Path
from tests.tunnel_client.test_permits import EXPECTED, replace
from tunnel_client.permits import Permits
permits = Permits.open(Path(sys.argv[1]), lambda: 1500.0)
permits.use(sys.argv[2], replace(EXPECTED, relay_key=bytes.fromhex(sys.argv[3])))
print("used", flush=True)
time.sleep(60)
"""


def test_killed_right_after_it_was_used_it_stays_used(state: Path) -> None:
    """P22: also across a client that dies at once."""
    arguments = [str(state), vouched(), RELAY.public.hex()]
    with subprocess.Popen(
        [sys.executable, "-c", USE_AND_HANG, *arguments], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "used\n"
        child.send_signal(signal.SIGKILL)
    assert kind(opened(state), vouched()) == "used"


def test_a_line_that_was_cut_off_counts_as_used_and_is_no_harm(state: Path) -> None:
    permits = opened(state)
    permits.use(vouched(), EXPECTED)
    permits.close()
    path = state / FILE
    path.write_text(path.read_text() + f"{numbered(7).id} 19")
    again = opened(state)
    assert kind(again, vouched(numbered(7))) == "used"
    again.use(vouched(numbered(8)), EXPECTED)
    again.close()
    assert kind(opened(state), vouched(numbered(8))) == "used"


@pytest.mark.parametrize("text", ["nonsense\n", f"{'1' * 32}\n", "\x00" * 44 + "\n", "é\n"])
def test_a_damaged_file_lets_nothing_through(state: Path, text: str) -> None:
    path = state / FILE
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(PermitFileError):
        opened(state)


def test_a_file_that_others_can_change_is_not_believed(state: Path) -> None:
    path = state / FILE
    path.write_text("")
    path.chmod(0o622)
    with pytest.raises(ClientError):
        opened(state)


def test_what_cannot_be_written_down_does_not_run(state: Path) -> None:
    permits = opened(state)
    # Not even root writes into a folder that stands where the file was.
    (state / FILE).unlink()
    (state / FILE).mkdir()
    assert kind(permits, vouched()) == "not written down"
    (state / FILE).rmdir()
    # It may have reached the disk: it stays used.
    assert kind(permits, vouched()) == "used"
    permits.use(vouched(numbered(3)), EXPECTED)
    permits.close()
    assert kind(opened(state), vouched(numbered(3))) == "used"


def test_what_expired_long_ago_is_forgotten(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REWRITE", 3)
    permits = opened(state)
    permits.use(vouched(), EXPECTED)
    permits.close()
    now = 1_900.0 + MAX_LIFE
    assert kind(opened(state, now - 1), vouched()) == "expired"
    assert (state / FILE).read_text() != ""
    late = opened(state, now)
    assert (state / FILE).read_text() == ""
    for number in range(5):
        permit = replace(numbered(number), expires=int(now) + 60)
        late.use(vouched(permit), EXPECTED)
    late.close()
    assert len((state / FILE).read_text().splitlines()) == 5


def test_there_is_an_end_to_how_many_are_remembered(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_USED", 2)
    permits = opened(state)
    for number in range(2):
        permits.use(vouched(numbered(number)), EXPECTED)
    assert kind(permits, vouched(numbered(9))) == "too many"
