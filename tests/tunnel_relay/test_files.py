"""Files others could have touched are refused."""

import os
import stat
from pathlib import Path

import pytest

from tunnel_relay.errors import Code, RelayError
from tunnel_relay.files import check_state_dir, read_config, read_private, write_new


def write(path: Path, mode: int, text: str = "x") -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def refusal(read: object, path: Path) -> Code:
    assert callable(read)
    with pytest.raises(RelayError) as caught:
        read(path)
    return caught.value.code


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_of_ours_alone_is_read(tmp_path: Path, mode: int) -> None:
    assert read_private(write(tmp_path / "key", mode)) == "x"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
def test_a_secret_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    assert refusal(read_private, write(tmp_path / "key", mode)) is Code.FILE_UNSAFE


def test_a_configuration_may_be_read_but_not_written_by_others(tmp_path: Path) -> None:
    assert read_config(write(tmp_path / "a", 0o644)) == "x"
    assert refusal(read_config, write(tmp_path / "b", 0o664)) is Code.FILE_UNSAFE
    assert refusal(read_config, write(tmp_path / "c", 0o646)) is Code.FILE_UNSAFE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "key", 0o600)
    os.chown(path, 12345, 12345)
    assert refusal(read_private, path) is Code.FILE_UNSAFE
    assert refusal(read_config, path) is Code.FILE_UNSAFE
    os.chown(tmp_path, 12345, 12345)
    assert refusal(check_state_dir, tmp_path) is Code.FILE_UNSAFE


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    assert refusal(read_private, tmp_path / "absent") is Code.KEY_UNUSABLE
    assert refusal(read_config, tmp_path / "absent") is Code.CONFIG_MISSING
    assert refusal(read_config, tmp_path) is Code.CONFIG_MISSING
    assert refusal(read_private, Path("/dev/null")) is Code.FILE_UNSAFE


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    assert refusal(read_private, path) is Code.KEY_UNUSABLE


def test_the_state_folder_is_made_for_us_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    check_state_dir(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o750)
    assert refusal(check_state_dir, folder) is Code.FILE_UNSAFE


def test_a_new_file_is_private_and_never_replaces_one(tmp_path: Path) -> None:
    path = tmp_path / "new"
    write_new(path, "secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(RelayError) as caught:
        write_new(path, "other")
    assert caught.value.code is Code.EXISTS_ALREADY
    assert path.read_text() == "secret"
    with pytest.raises(RelayError):
        write_new(tmp_path / "no" / "folder", "x")
