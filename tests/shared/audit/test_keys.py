"""The keys of a log: made once, kept apart, shown never."""

from pathlib import Path

import pytest

from shared.audit.keys import (
    PUBLIC_FILE,
    read_or_make_key,
    read_or_make_tag_key,
    read_public,
    read_redactor,
)
from shared.audit.log import AuditLog
from shared.audit.private import AuditError, write_private
from shared.record.redact import Redactor
from tests.helpers.log_lines import ORIGIN, written


def test_the_key_of_a_log_is_made_with_it_and_stays(tmp_path: Path) -> None:
    key = read_or_make_key(tmp_path, fresh=True)
    assert read_or_make_key(tmp_path, fresh=False).public == key.public
    assert read_public(tmp_path / PUBLIC_FILE) == key.public
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {0o600}


def test_the_key_may_lie_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "keys" / "log.pem"
    elsewhere.parent.mkdir(mode=0o700)
    folder = tmp_path / "log"
    folder.mkdir(mode=0o700)
    key = read_or_make_key(folder, elsewhere, fresh=True)
    assert [path.name for path in folder.iterdir()] == [PUBLIC_FILE]
    assert read_public(folder / PUBLIC_FILE) == key.public
    (folder / PUBLIC_FILE).unlink()
    read_or_make_key(folder, elsewhere, fresh=False)
    assert read_public(folder / PUBLIC_FILE) == key.public


async def test_a_log_can_be_opened_with_a_key_elsewhere(tmp_path: Path) -> None:
    key = tmp_path / "log.pem"
    log = AuditLog(tmp_path / "log", ORIGIN, key=key)
    log.close()
    assert read_or_make_key(tmp_path / "log", key, fresh=False).public == log.public


def test_a_key_that_is_gone_or_broken_is_an_error(tmp_path: Path) -> None:
    """A06."""
    with pytest.raises(AuditError, match="is gone"):
        read_or_make_key(tmp_path, fresh=False)
    write_private(tmp_path / "key.pem", b"rubbish")
    with pytest.raises(AuditError, match="cannot use"):
        read_or_make_key(tmp_path, fresh=True)
    (tmp_path / "key.pem").chmod(0o644)
    with pytest.raises(AuditError, match="open to others"):
        read_or_make_key(tmp_path, fresh=True)


async def test_the_private_key_is_in_its_file_only(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = await written(folder)
    pem = (folder / "key.pem").read_text()
    secret = pem.splitlines()[1]
    assert "PRIVATE" in pem
    others = [path for path in folder.iterdir() if path.name != "key.pem"]
    assert [path for path in others if secret.encode() in path.read_bytes()] == []
    assert log.failing is None


def test_the_key_of_tags_is_made_once_and_never_shown(tmp_path: Path) -> None:
    """A13: in a file of its own, in no repr."""
    path = tmp_path / "audit-tags.key"
    key = read_or_make_tag_key(path)
    assert read_or_make_tag_key(path).get_secret_value() == key.get_secret_value()
    assert len(key.get_secret_value()) == 32
    redactor = read_redactor(path, {"read": ["note"]})
    assert redactor.tag("x") == Redactor(key.get_secret_value()).tag("x")
    assert path.stat().st_mode & 0o777 == 0o600
    for text in (repr(key), str(key), f"{key}"):
        assert key.get_secret_value().hex() not in text
        assert repr(key.get_secret_value()) not in text


def test_equal_values_have_other_tags_in_another_log(tmp_path: Path) -> None:
    """A13: what a tag of one log hides is not found by the tags of another."""
    one, other = (read_redactor(tmp_path / name, {}) for name in ("one", "other"))
    values = [f"{pin:04}" for pin in range(100)]
    assert not {one.tag(value) for value in values} & {other.tag(value) for value in values}
    assert one.tag("7") == read_redactor(tmp_path / "one", {}).tag("7")


@pytest.mark.parametrize("text", [b"", b"xyz\n", b"00" * 31, b"00" * 33, b"\xff" * 64])
def test_what_is_no_key_of_tags_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "audit-tags.key"
    write_private(path, text)
    with pytest.raises(AuditError, match="holds no key"):
        read_or_make_tag_key(path)


@pytest.mark.parametrize("text", ["", "x" * 43, "\u00e9"])
def test_what_is_no_public_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.pub"
    path.write_text(text)
    with pytest.raises(AuditError, match="no public key"):
        read_public(path)
