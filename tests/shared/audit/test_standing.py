"""Which settings of the log were in force is kept, to say what changed (A15)."""

from pathlib import Path

import pytest

from shared.audit.private import AuditError
from shared.audit.standing import (
    FILE,
    Standing,
    differences,
    keep_standing,
    read_standing,
    standing,
)
from tests.tunnel_client.test_settings import HEAD, parse


def _standing(text: str) -> Standing:
    settings = parse(text)
    return standing(settings.audit, settings.audit_folder, settings.state_dir)


def test_what_was_in_force_is_found_again(tmp_path: Path) -> None:
    assert read_standing(tmp_path) is None
    before = _standing(HEAD)
    keep_standing(tmp_path, before)
    assert read_standing(tmp_path) == before
    assert differences(before, _standing(HEAD)) == {}


def test_every_change_of_what_is_written_down_shows() -> None:
    before = _standing(HEAD)
    text = '[audit]\non = false\nfolder = "/srv/log"\n[audit.clear]\nread = ["path"]\n'
    assert differences(before, _standing(HEAD + text)) == {
        "on": [True, False],
        "folder": ["audit", "/srv/log"],
        "clear": [{}, {"read": ["path"]}],
    }


@pytest.mark.parametrize("text", ["", "[]", "{", '{"on": 1, "folder": "x"}', '{"on": true}'])
def test_a_broken_file_is_no_answer(tmp_path: Path, text: str) -> None:
    path = tmp_path / FILE
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(AuditError):
        read_standing(tmp_path)


def test_a_file_that_others_can_change_is_not_believed(tmp_path: Path) -> None:
    keep_standing(tmp_path, _standing(HEAD))
    (tmp_path / FILE).chmod(0o666)
    with pytest.raises(AuditError):
        read_standing(tmp_path)
