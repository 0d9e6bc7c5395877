"""The picture of where credentials are: what is in it, and that nothing overlaps."""

from itertools import combinations
from typing import Any

from tests.tunnel_relay.report import a_report
from tunnel_relay.report.diagram import BORDER, MAX_LANES, WIDTH, Box, picture
from tunnel_relay.report.document import document


def made(**more: Any) -> dict[str, Any]:
    facts = a_report.clean_facts() | more
    return document(facts, [a_report.clean_part()], a_report.clean_log())


def overlap(one: Box, other: Box) -> bool:
    apart = (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.y + one.height <= other.y
        or other.y + other.height <= one.y
    )
    return not apart


def test_each_end_is_there_with_what_it_holds() -> None:
    shown = picture(made())
    assert [each.kind for each in shown.boxes] == ["agents", "relay", "client", "server"]
    held = {each.kind: " ".join(each.lines) for each in shown.boxes}
    assert "no credential of a server" in held["agents"]
    assert "no credential of a server" in held["relay"]
    assert "1 credential" in held["client"]
    assert held["server"] == "in a sandbox"
    assert [each.label for each in shown.arrows] == ["session token", "dials out", "bearer"]
    dial = shown.arrows[1]
    assert dial.x1 > BORDER > dial.x2  # out of the private network, never into it


def test_what_no_client_told_is_said_to_be_unknown() -> None:
    shown = picture(document(a_report.clean_facts(), [], a_report.clean_log()))
    client, server = shown.boxes[2:]
    assert client.lines[0] == "credentials: not told"
    assert (server.warn, shown.arrows[-1].label) == (True, "?")


def test_many_servers_neither_overlap_nor_leave_the_picture() -> None:
    tunnels = [
        {
            **a_report.clean_facts()["tunnels"][0],
            "name": f"t{number}",
            "upstreams": [f"u{at}" for at in range(number)],
        }
        for number in range(1, 9)
    ]
    shown = picture(made(tunnels=tunnels))
    servers = [each for each in shown.boxes if each.kind == "server"]
    assert len(servers) == MAX_LANES
    assert shown.left_out == sum(range(1, 9)) - MAX_LANES
    assert not [pair for pair in combinations(shown.boxes, 2) if overlap(*pair)]
    for box in shown.boxes:
        assert 0 <= box.x < box.x + box.width <= WIDTH
        assert box.y + box.height <= shown.height
