"""What both files of the catalogue have in common, and what neither may hold."""

from pathlib import Path

import pytest

from tests.tunnel_client.catalog.broken import BROKEN, put
from tunnel_client.catalog.stored import read_json, upstreams_of, write_json
from tunnel_client.errors import StateWriteError
from tunnel_client.errors_upstreams import BrokenPinsError


def read(path: Path) -> dict[str, object] | None:
    return read_json(path, lambda whole: dict(upstreams_of(whole)), BrokenPinsError)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    assert read(path) is None
    write_json(path, {"desk": {"a": 1}, "crm": {}})
    assert read(path) == {"desk": {"a": 1}, "crm": {}}
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateWriteError, match="cannot write"):
        write_json(tmp_path / "none" / "some.json", {})


@pytest.mark.parametrize(("content", "why"), BROKEN)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, content: object, why: str) -> None:
    path = tmp_path / "some.json"
    put(path, content)
    with pytest.raises(BrokenPinsError, match=why) as raised:
        read(path)
    assert str(path) in raised.value.cause
