"""How long calls took, as histograms that a collector decodes."""

import json
from collections.abc import Iterable
from pathlib import Path

from shared.audit.export.cursor import Cursor, cursor_path, read_cursor, write_cursor
from shared.record import encode
from shared.record.export.formats import Formatter, otlp_body
from shared.record.export.joined import Origin
from shared.record.export.otlp_metrics import BOUNDS, MAX_SERIES, Totals
from tests.helpers.log_lines import SAID, call_name, chained, completion, intent
from tests.helpers.otlp import points_of

CLIENT = Origin("tunnel-client", "mcp-tunnel/client/office/1", "1.0", "host.example")
RELAY = Origin("tunnel-relay", "mcp-tunnel/relay/https://r", "1.0", "host.example")
NOT_PINNED = encode.said(
    {"server": "crm", "http": "POST", "method": "tools/call", "name": "made up by an agent"},
    {"user": "ada", "agent": "helper", "session": "5" * 32},
    {"decision": "allow", "policy": "b" * 64},
)


def body_of(origin: Origin, *records: bytes) -> bytes:
    formatter = Formatter("otlp-metrics", origin)
    lines = [formatter.line(seq, line) for seq, line in enumerate(chained(records))]
    return otlp_body("otlp-metrics", [each for each in lines if each], origin)


def pinned(tool: str, server: str = "crm", tool_class: str = "read") -> bytes:
    what = {"server": server, "http": "POST", "method": "tools/call", "name": tool}
    return encode.said(what | {"definition": "d" * 64, "class": tool_class}, {}, {})


def lines_for(said: Iterable[bytes], origin: Origin = RELAY) -> tuple[Formatter, list[bytes]]:
    """Return what became of a call of each kind, and the formatter that counted them."""
    formatter, records = Formatter("otlp-metrics", origin), list[bytes]()
    for number, each in enumerate(said):
        seq = 2 * number
        records += [intent(seq, number, each), ended(seq + 1, number, seq, 7)]
    lines = [formatter.line(seq, line) for seq, line in enumerate(chained(records))]
    return formatter, [each for each in lines if each]


def ended(seq: int, number: int, begun: int, us: int, result: bytes = b"ok") -> bytes:
    now = 1_795_000_000_000_000 + seq
    return encode.completion(call_name(number), seq, now, begun, result, b"done", 200, 120, us)


def test_calls_of_one_kind_are_one_point() -> None:
    took = (5_000, 10_000, 10_001, 400_000_000)
    records = [intent(number, number) for number in range(len(took))]
    records += [ended(4 + at, at, at, us) for at, us in enumerate(took)]
    for origin, name in ((CLIENT, "mcp.client"), (RELAY, "mcp.server")):
        ((found, labels, point),) = points_of(body_of(origin, *records))
        assert found == f"{name}.operation.duration"
        assert labels == {
            "mcp.method.name": "tools/call",
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "look_up",
            "mcp_tunnel.class": "read",
            "mcp_tunnel.server": "crm",
        }
        assert (point.count, point.sum) == (4, sum(took) / 1e6)
        assert tuple(point.explicit_bounds) == BOUNDS
        # A bound belongs to the bucket below it.
        assert list(point.bucket_counts) == [2, 1, *[0] * 11, 0, 1]
        assert point.start_time_unix_nano < point.time_unix_nano
        assert point.time_unix_nano == (1_795_000_000_000_000 + 7) * 1000


def test_how_calls_ended_is_a_label() -> None:
    results = (b"ok", b"tool_error", b"timeout", b"cancelled")
    records = [intent(number, number) for number in range(4)]
    records += [ended(4 + at, at, at, 7, result) for at, result in enumerate(results)]
    found = [labels.get("error.type") for _, labels, _ in points_of(body_of(CLIENT, *records))]
    assert found == [None, "tool_error", "timeout", "cancelled"]


def test_agents_make_no_series_of_their_own() -> None:
    records = (intent(0, 1, NOT_PINNED), ended(1, 1, 0, 7))
    ((_, labels, _),) = points_of(body_of(CLIENT, *records))
    assert "gen_ai.tool.name" not in labels
    assert set(labels) == {"mcp.method.name", "gen_ai.operation.name", "mcp_tunnel.server"}


def test_names_that_could_be_no_tools_are_no_labels(tmp_path: Path) -> None:
    """A client may tell such names to a relay, and say that they are pinned."""
    names = [f"{number:04}" + "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 246 for number in range(1000)]
    formatter, lines = lines_for(map(pinned, names))
    assert len(formatter.totals) == 1
    assert "gen_ai.tool.name" not in json.loads(lines[-1])["labels"]
    place = cursor_path(tmp_path, "durations")
    write_cursor(place, Cursor(totals=formatter.totals))
    assert read_cursor(place).totals == formatter.totals


def test_methods_that_nobody_knows_are_one_series_together() -> None:
    what = {"server": "crm", "http": "POST"}
    methods = [*(f"made/up{number}" for number in range(50)), "ping", "tools/list"]
    formatter, _ = lines_for(encode.said(what | {"method": each}, {}, {}) for each in methods)
    found = [json.loads(each).get("mcp.method.name") for each in formatter.totals]
    assert found == ["_OTHER", "ping", "tools/list"]


def test_no_tunnel_takes_more_series_than_half_of_what_others_leave() -> None:
    tools = [f"tool{number}" for number in range(MAX_SERIES + 10)]
    for tunnels, wanted in ((["a"], [500]), (["a", "b", "c"], [500, 250, 125])):
        said = [pinned(tool, f"{tunnel}/crm") for tunnel in tunnels for tool in tools]
        formatter, _ = lines_for([*said, pinned("late", "d/crm")])
        servers = [json.loads(each).get("mcp_tunnel.server") for each in formatter.totals]
        assert [servers.count(f"{tunnel}/crm") for tunnel in tunnels] == wanted
        assert (servers.count("d/crm"), servers.count(None)) == (1, 1)
        again = Formatter("otlp-metrics", RELAY)
        again.go_on_from(formatter.totals)
        assert again.totals == formatter.totals


def test_series_that_could_not_be_made_now_take_no_room() -> None:
    """An older version counted them."""
    totals, counts = Totals(), [1, 2, 3, *[0] * (len(BOUNDS) + 1)]
    name = json.dumps({"gen_ai.tool.name": "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 250})
    totals.restore({name: counts, "{}": counts})
    assert totals.kept == {"{}": counts}


def test_a_clock_that_was_set_back_makes_no_older_point() -> None:
    formatter = Formatter("otlp-metrics", CLIENT)
    late, early = ended(2, 0, 0, 7), ended(3, 1, 1, 9)
    early = early.replace(b'"time":1795', b'"time":1794')
    records = chained([intent(0, 0), intent(1, 1), late, early])
    lines = [
        json.loads(each) for seq, line in enumerate(records) if (each := formatter.line(seq, line))
    ]
    assert [line["time"] for line in lines] == [(1_795_000_000_000_000 + 2) * 1000] * 2
    assert [line["count"] for line in lines] == [1, 2]


def test_more_kinds_of_calls_than_are_kept_are_one_more_together(tmp_path: Path) -> None:
    """And the place of an export that holds them all can be read again."""
    formatter = Formatter("otlp-metrics", CLIENT)
    records = []
    for number in range(0, 2 * MAX_SERIES + 20, 2):
        said = pinned(f"{number:0128}", f"{number:064}/{'s' * 64}", "external_send")
        result = b"revoked_in_flight"  # the longest there is
        records += [intent(number, number, said), ended(number + 1, number, number, 7, result)]
    lines = [formatter.line(seq, line) for seq, line in enumerate(chained(records))]
    last = json.loads(lines[-1])
    assert (last["labels"], last["count"]) == ({"otel.metric.overflow": True}, 10)
    body = otlp_body("otlp-metrics", [each for each in lines if each], CLIENT)
    assert len(list(points_of(body))) == MAX_SERIES + 1
    place = cursor_path(tmp_path, "durations")
    write_cursor(place, Cursor(totals=formatter.totals))
    assert read_cursor(place).totals == formatter.totals
    other = Formatter("otlp-metrics", CLIENT)
    other.go_on_from(read_cursor(place).totals)
    assert other.totals == formatter.totals


def test_what_is_no_end_of_a_call_is_not_counted() -> None:
    other = json.dumps({"kind": "call.refused", "seq": 1, "time": 1, "v": 1}).encode()
    body = body_of(CLIENT, intent(0, 1, SAID), other, completion(2, 9, 77))
    assert list(points_of(body)) == []
