"""Adding an upstream leaves a valid file, or the old one."""

from pathlib import Path

import pytest

from tests.tunnel_client.test_settings import HEAD, HTTP
from tunnel_client.errors import NoProgramError, SettingsError, StateWriteError
from tunnel_client.errors_upstreams import UnknownUpstreamError
from tunnel_client.settings import load_settings
from tunnel_client.upstream_file import add_upstream, check_addition, remove_upstream


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "client.toml"
    path.write_text(f"# mine\n{HEAD}{HTTP}")
    path.chmod(0o640)
    return path


def test_an_upstream_is_added_and_mode_and_comments_stay(path: Path) -> None:
    add_upstream(path, {"name": "time", "command": ["uvx", "x"], "url": None}, {})
    assert [each.name for each in load_settings(path, {}).upstream] == ["files", "time"]
    assert path.read_text().startswith("# mine\n")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_linked_file_is_changed_where_it_is(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    add_upstream(link, {"name": "time", "command": ["x"]}, {})
    assert link.is_symlink()
    assert len(load_settings(path, {}).upstream) == 2


@pytest.mark.parametrize(
    "bad", [{"name": "files", "url": "http://h/"}, {"name": "x", "url": "file:///etc/passwd"}]
)
def test_what_would_break_the_file_is_not_written(path: Path, bad: dict[str, str]) -> None:
    before = path.read_text()
    with pytest.raises(SettingsError):
        add_upstream(path, bad, {})
    assert path.read_text() == before


def test_a_program_that_is_not_there_is_found_before_anything_is_written(path: Path) -> None:
    before = path.read_text()
    with pytest.raises(NoProgramError, match="upstream time: no program '/opt/none'"):
        check_addition(path, {"name": "time", "command": ["/opt/none"]}, {})
    with pytest.raises(SettingsError, match="two upstreams"):
        check_addition(path, {"name": "files", "command": ["sh"]}, {})
    check_addition(path, {"name": "time", "command": ["sh"]}, {"PATH": "/usr/bin:/bin"})
    check_addition(path, {"name": "web", "url": "http://h/"}, {})
    assert path.read_text() == before


def test_an_upstream_is_removed_and_mode_and_comments_stay(path: Path) -> None:
    before = path.read_text()
    add_upstream(path, {"name": "time", "command": ["x"]}, {})
    remove_upstream(path, "time")
    assert path.read_text() == before
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(UnknownUpstreamError, match="time"):
        remove_upstream(path, "time")


def test_a_file_that_cannot_be_replaced_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StateWriteError, match="No space left"):
        add_upstream(path, {"name": "x", "command": ["x"]}, {})
    assert list(path.parent.iterdir()) == [path]
