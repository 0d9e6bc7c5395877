"""Answers for people: aligned, and harmless to the terminal."""

from tunnel_client.render import as_text, upstream_row
from tunnel_client.settings import UpstreamSettings


def test_nested_values_become_aligned_lines() -> None:
    text = as_text(
        {"state": "connected", "up": True, "error": None, "links": [{"rtt": 1.5}], "more": {"a": 1}}
    )
    assert text == ("state  connected\nup     yes\nerror  -\nlinks\n  rtt=1.5\nmore\n  a  1")
    assert as_text({"links": []}) == "links\n  none"
    assert as_text({}) == ""


def test_control_characters_never_reach_the_terminal() -> None:
    assert "\x1b" not in as_text({"detail": "\x1b[2J", "links": ["\x07", {"a": "\x1b"}]})


def test_a_row_shows_where_an_upstream_is() -> None:
    http = UpstreamSettings(name="a", url="http://h/mcp")
    assert upstream_row(http) == {"name": "a", "kind": "http", "target": "http://h/mcp"}
    stdio = UpstreamSettings(name="b", command=["uvx", "a b"])
    assert upstream_row(stdio) == {"name": "b", "kind": "stdio", "target": "uvx 'a b'"}
