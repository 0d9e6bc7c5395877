"""An agreement is of this machine, whole, and ours."""

import json
import os
from pathlib import Path

import pytest

from tunnel_client.consent import store
from tunnel_client.consent.store import CONSENT_FILE, KEY_FILE, Consent, ConsentStore, host_id
from tunnel_client.errors import StateWriteError, UnsafeFileError
from tunnel_client.errors_upstreams import ConsentFileError

AGREED = Consent({"argv": ["/opt/server"], "cwd": None}, "2026-01-01T00:00:00+00:00", False)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def filled(state: Path) -> ConsentStore:
    made = ConsentStore(state)
    made.put("x", AGREED)
    return made


def edited(state: Path, **changes: object) -> None:
    path = state / CONSENT_FILE
    value = json.loads(path.read_text())
    value["consents"]["x"].update(changes)
    path.write_text(json.dumps(value))


def test_what_was_agreed_to_is_kept_for_the_owner_alone(state: Path) -> None:
    filled(state).put("y", AGREED)
    fresh = ConsentStore(state)
    assert fresh.find("x") == fresh.find("y") == AGREED
    assert fresh.find("z") is None
    for name in (CONSENT_FILE, KEY_FILE):
        assert (state / name).stat().st_mode & 0o777 == 0o600


def test_an_agreement_that_is_made_meanwhile_is_seen(state: Path) -> None:
    reader = ConsentStore(state)
    assert reader.find("x") is None
    filled(state)
    assert reader.find("x") == AGREED


@pytest.mark.parametrize(
    "changes",
    [
        {"facts": {"argv": ["/opt/evil"], "cwd": None}},
        {"at": "2027-01-01T00:00:00+00:00"},
        {"dangers": True},
        {"mac": "0" * 64},
        {"mac": None},
        {"facts": "text"},
    ],
)
def test_an_entry_that_was_edited_by_hand_is_refused(
    state: Path, changes: dict[str, object]
) -> None:
    """L18."""
    reader = filled(state)
    edited(state, **changes)
    with pytest.raises(ConsentFileError):
        reader.find("x")


def test_an_entry_cannot_be_given_to_another_upstream(state: Path) -> None:
    """L18."""
    reader = filled(state)
    path = state / CONSENT_FILE
    value = json.loads(path.read_text())
    value["consents"]["y"] = value["consents"]["x"]
    path.write_text(json.dumps(value))
    with pytest.raises(ConsentFileError, match="the entry for y was changed by hand"):
        reader.find("y")


def test_a_file_from_another_machine_is_refused(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L18: with its key, and even when it claims to be of this machine."""
    filled(state)
    ours = host_id()
    monkeypatch.setattr(store, "_MACHINE_IDS", (state / "none",))
    assert host_id() != ours
    with pytest.raises(ConsentFileError, match="of another machine"):
        ConsentStore(state).find("x")
    edited(state, host=host_id())
    with pytest.raises(ConsentFileError, match="changed by hand or comes from elsewhere"):
        ConsentStore(state).find("x")


def test_a_file_without_its_key_is_refused(state: Path) -> None:
    """L18."""
    filled(state)
    (state / KEY_FILE).unlink()
    with pytest.raises(ConsentFileError):
        ConsentStore(state).find("x")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', "[" * 100_000, "\xff"])
def test_what_is_no_list_of_consents_is_an_error_and_can_be_replaced(
    state: Path, text: str
) -> None:
    made = filled(state)
    (state / CONSENT_FILE).write_text(text, encoding="latin-1")
    with pytest.raises(ConsentFileError, match="cannot be read"):
        made.find("x")
    made.put("x", AGREED)
    assert ConsentStore(state).find("x") == AGREED


def test_files_that_others_could_change_are_refused(state: Path) -> None:
    """L15."""
    reader = filled(state)
    (state / CONSENT_FILE).chmod(0o620)
    os.utime(state / CONSENT_FILE, ns=(1, 1))
    with pytest.raises(UnsafeFileError):
        ConsentStore(state).find("x")
    (state / CONSENT_FILE).chmod(0o600)
    (state / KEY_FILE).chmod(0o640)
    with pytest.raises(UnsafeFileError):
        ConsentStore(state).find("x")
    (state / KEY_FILE).chmod(0o600)
    (state / KEY_FILE).write_bytes(b"short")
    with pytest.raises(ConsentFileError, match="not a key of ours"):
        ConsentStore(state).find("x")
    assert reader.key


def test_asking_makes_nothing(state: Path) -> None:
    reader = ConsentStore(state)
    assert reader.find("x") is None
    assert reader.key == b""
    assert not state.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_may_agree_for_a_daemon_of_another_user(state: Path) -> None:
    state.mkdir(mode=0o700)
    os.chown(state, 65534, 65534)
    assert filled(state).find("x") == AGREED
    assert ConsentStore(state).find("x") == AGREED
    assert {each.stat().st_uid for each in state.iterdir()} == {65534}


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateWriteError, match="cannot write"):
        ConsentStore(tmp_path / "file" / "state").put("x", AGREED)
