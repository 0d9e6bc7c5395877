"""`tunnel-relay report` where no relay runs: the page, JSON, and what is refused."""

import json
from pathlib import Path

import pytest

from tests.tunnel_relay.test_cli import Shell
from tunnel_relay.cli_report import write
from tunnel_relay.errors import Code, RelayError


def test_a_page_is_written_and_said_where(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.init("--public-url", "https://relay.example.com")
    page = tmp_path / "out.html"
    done = shell.run("report", "--output", str(page))
    assert done.stdout.splitlines()[0] == str(page)
    assert "2 medium, 1 low" in done.stdout
    assert page.stat().st_mode & 0o777 == 0o600
    text = page.read_text()
    assert "https://relay.example.com" in text
    assert "not running" in text
    # Again, over the one from before, and what is found may end it.
    shell.run("report", "--output", str(page), "--fail-on", "high")
    shell.run("report", "--output", str(page), "--fail-on", "medium", code=1)
    assert [each.name for each in tmp_path.glob(".out.html*")] == []


def test_json_holds_all_of_it(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.init("--demo")
    doc = shell.json("report")
    assert doc["schema_version"] == 1
    assert doc["verdict"]["word"] == "act"
    assert doc["findings"][0]["id"] == "demo-certificate"
    assert doc["log"]["ok"] is True
    assert {each["kind"] for each in doc["log"]["sample"]} >= {"audit.opened"}
    assert not (tmp_path / "report.html").exists()


def test_a_file_that_no_client_wrote_is_refused(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.init("--public-url", "https://relay.example.com")
    odd = tmp_path / "odd.json"
    odd.write_text(json.dumps({"kind": "else"}))
    done = shell.run("report", "--client", str(odd), code=2)
    assert done.stderr.startswith("MT1171: ")


def test_where_nothing_can_be_written_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(RelayError) as refused:
        write(tmp_path / "missing" / "report.html", "text")
    assert refused.value.code is Code.REPORT_UNWRITABLE
    (tmp_path / "folder").mkdir()
    with pytest.raises(RelayError):
        write(tmp_path / "folder", "text")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_page_follows_no_link(tmp_path: Path) -> None:
    """Who may write beside the page cannot have another file overwritten."""
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "report.html").symlink_to(precious)
    write(tmp_path / "report.html", "page")
    assert precious.read_text() == "kept"
    assert (tmp_path / "report.html").read_text() == "page"
    assert not (tmp_path / "report.html").is_symlink()
