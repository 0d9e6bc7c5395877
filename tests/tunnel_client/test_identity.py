"""The key, the instance id and the join counter: private, whole, used by one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunnel_client.errors import (
    AlreadyEnrolledError,
    AlreadyRunningError,
    BrokenStateError,
    NotEnrolledError,
    StateWriteError,
    UnsafeFileError,
)
from tunnel_client.identity import (
    COUNTER_FILE,
    INSTANCE_FILE,
    KEY_FILE,
    MAX_COUNTER,
    Identity,
    StateLock,
    refuse_enrolled,
)


@pytest.fixture
def enrolled(tmp_path: Path) -> Identity:
    state = tmp_path / "state"
    with StateLock(state):
        identity = Identity.create(state)
        identity.save()
    return identity


def test_an_identity_is_kept_across_starts(enrolled: Identity) -> None:
    again = Identity.read(enrolled.state_dir)
    assert again.instance == enrolled.instance
    assert again.key.public == enrolled.key.public
    assert again.counter == 0
    modes = {path.stat().st_mode & 0o777 for path in enrolled.state_dir.iterdir()}
    assert modes == {0o600}


def test_the_counter_grows_on_disk_before_it_is_used(enrolled: Identity) -> None:
    assert [enrolled.next_counter() for _ in range(3)] == [1, 2, 3]
    again = Identity.read(enrolled.state_dir)
    assert again.next_counter() == 4


def test_a_counter_that_cannot_be_kept_is_not_given_out(enrolled: Identity) -> None:
    (enrolled.state_dir / COUNTER_FILE).unlink()
    (enrolled.state_dir / COUNTER_FILE).mkdir()
    with pytest.raises(StateWriteError, match="cannot write"):
        enrolled.next_counter()
    assert enrolled.counter == 0


def test_the_counter_ends_rather_than_wraps(enrolled: Identity) -> None:
    enrolled.counter = MAX_COUNTER
    with pytest.raises(BrokenStateError):
        enrolled.next_counter()


@pytest.mark.parametrize("content", ["", "-1", "01", "1e3", "x", "9" * 30, "٣"])
def test_a_broken_counter_is_never_taken_for_zero(enrolled: Identity, content: str) -> None:
    (enrolled.state_dir / COUNTER_FILE).write_text(content)
    with pytest.raises(BrokenStateError, match="holds no number"):
        Identity.read(enrolled.state_dir)


@pytest.mark.parametrize("name", [KEY_FILE, INSTANCE_FILE])
def test_a_broken_key_or_instance_is_refused_without_showing_it(
    enrolled: Identity, name: str
) -> None:
    (enrolled.state_dir / name).write_text("SECRET-BYTES")
    with pytest.raises(BrokenStateError) as caught:
        Identity.read(enrolled.state_dir)
    assert "SECRET-BYTES" not in str(caught.value)
    (enrolled.state_dir / name).write_bytes(b"\xff\xfe")
    with pytest.raises(BrokenStateError, match="not text"):
        Identity.read(enrolled.state_dir)


def test_a_key_open_to_others_or_linked_is_refused(enrolled: Identity, tmp_path: Path) -> None:
    key = enrolled.state_dir / KEY_FILE
    key.chmod(0o640)
    with pytest.raises(UnsafeFileError, match="open to others"):
        Identity.read(enrolled.state_dir)
    key.chmod(0o600)
    moved = key.rename(tmp_path / "elsewhere")
    key.symlink_to(moved)
    with pytest.raises(UnsafeFileError, match="symbolic link"):
        Identity.read(enrolled.state_dir)


def test_a_folder_open_to_others_is_refused(enrolled: Identity) -> None:
    enrolled.state_dir.chmod(0o755)
    with pytest.raises(UnsafeFileError, match="open to others"):
        Identity.read(enrolled.state_dir)
    with pytest.raises(UnsafeFileError, match="open to others"):
        StateLock(enrolled.state_dir)


def test_no_enrolment_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotEnrolledError, match="tunnel-client enroll"):
        Identity.read(tmp_path / "none")


def test_an_enrolment_is_not_replaced_by_accident(enrolled: Identity) -> None:
    with pytest.raises(AlreadyEnrolledError, match="--force"):
        refuse_enrolled(enrolled.state_dir)


def test_a_second_user_of_the_folder_is_refused_and_told_who(tmp_path: Path) -> None:
    state = tmp_path / "state"
    told = f"process {os.getpid()} already"
    with StateLock(state), pytest.raises(AlreadyRunningError, match=told):
        StateLock(state)
    StateLock(state).close()


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    hold = (
        "import sys; from pathlib import Path; from tunnel_client.identity import StateLock\n"
        "lock = StateLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunningError, match=f"process {holder.pid} already"):
            StateLock(state)
        holder.kill()
        holder.wait(10)
    StateLock(state).close()
