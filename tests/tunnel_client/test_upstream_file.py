"""Adding an upstream leaves a valid file, or the old one."""

from pathlib import Path

import pytest

from tests.tunnel_client.test_settings import HEAD, HTTP
from tunnel_client.errors import SettingsError, StateWriteError
from tunnel_client.settings import load_settings
from tunnel_client.upstream_file import add_upstream


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


def test_a_file_that_cannot_be_replaced_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StateWriteError, match="No space left"):
        add_upstream(path, {"name": "x", "command": ["x"]}, {})
    assert list(path.parent.iterdir()) == [path]
