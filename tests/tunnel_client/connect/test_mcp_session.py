"""What a legacy agent's server is told of the MCP session."""

import pytest

from tunnel_client.connect.mcp_session import McpSession


def test_the_id_and_the_version_go_with_every_request_after() -> None:
    session = McpSession()
    assert session.header == {}
    session.begin("abc")
    session.agreed({"protocolVersion": "2025-06-18"})
    assert session.header == {"Mcp-Session-Id": "abc"}
    assert session.get_headers("e1") == {
        "Accept": "text/event-stream",
        "Mcp-Session-Id": "abc",
        "MCP-Protocol-Version": "2025-06-18",
        "Last-Event-ID": "e1",
    }
    session.begin(None)
    assert (session.header, session.version) == ({}, None)


@pytest.mark.parametrize("given", ["", "a b", "a\r\nX: y", "ä", "x" * 2000])
def test_what_is_no_id_counts_as_none(given: str) -> None:
    session = McpSession()
    session.begin(given)
    assert session.header == {}


@pytest.mark.parametrize("result", [None, [], {}, {"protocolVersion": 1}, {"protocolVersion": ""}])
def test_what_is_no_version_counts_as_none(result: object) -> None:
    session = McpSession()
    session.agreed(result)
    assert session.version is None


def test_an_event_id_that_fits_in_no_header_is_left_out() -> None:
    assert "Last-Event-ID" not in McpSession().get_headers("ä")
    assert "Last-Event-ID" not in McpSession().get_headers("a\r\nb")
