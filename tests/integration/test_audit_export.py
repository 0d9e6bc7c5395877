"""Both programs export what agents do: in every format, without a secret, traces passed on."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.helpers.agent import call
from tests.helpers.audit_log import hiding, records
from tests.helpers.otlp import points_of, traces_of
from tests.helpers.siem import HttpServer
from tests.helpers.tunnel import Lab
from tests.integration.scene import SERVER, eventually, open_scene

pytestmark = pytest.mark.system

CANARY = "canary-5e0c7713fa"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FILES = ("jsonl", "ocsf", "ecs", "cef")


def exporting(collector: HttpServer) -> Any:
    """Return what gives both programs an export in each format."""

    def prepare(lab: Lab) -> None:
        otlp = f"otlp+http://127.0.0.1:{collector.port}"
        for program in ("relay", "client"):
            exports = [
                {"name": name, "format": name, "to": f"file:{lab.folder}/{program}-{name}"}
                for name in FILES
            ]
            exports.append({"name": "spans", "to": otlp, "token": "env:OTEL_TOKEN"})
            exports.append({"name": "metrics", "to": otlp, "format": "otlp-metrics"})
            lab.environment[f"TUNNEL_{program.upper()}_AUDIT__EXPORT"] = json.dumps(exports)
        lab.environment["OTEL_TOKEN"] = CANARY

    return prepare


def spans(collector: HttpServer) -> list[dict[str, Any]]:
    return [
        span | {"program": resource["resource"]["attributes"][0]["value"]["stringValue"]}
        for path, body in list(zip(collector.paths, collector.bodies, strict=False))
        if path == "/v1/traces" and traces_of(body)
        for resource in json.loads(body)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def durations(collector: HttpServer) -> Counter[tuple[str, str, str]]:
    """Count calls by metric, method and tool, as a collector that decodes them finds them."""
    newest: dict[tuple[str, frozenset[tuple[str, str]]], int] = {}
    for path, body in zip(collector.paths, collector.bodies, strict=True):
        if path == "/v1/metrics":
            for name, labels, point in points_of(body):
                assert sum(point.bucket_counts) == point.count
                newest[name, frozenset(labels.items())] = point.count
    found: Counter[tuple[str, str, str]] = Counter()
    for (name, labelled), count in newest.items():
        labels = dict(labelled)
        found[name, labels["mcp.method.name"], labels.get("gen_ai.tool.name", "")] += count
    return found


async def all_sent(lab: Lab) -> bool:
    relay = (await lab.relay_json("status"))["audit"]
    client = json.loads(await lab.client_command("status", "--json"))["audit"]
    return all(
        not each["behind"] and not each["problem"]
        for audit in (relay, client)
        for each in audit["exports"]
    )


async def test_what_agents_do_goes_out_in_every_format_without_a_secret() -> None:
    """A19, C20: a sink that is down holds up no call; C12: and nobody is told a secret."""
    collector = HttpServer()
    async with open_scene(prepare=exporting(collector)) as scene:
        lab = scene.lab
        assert (await scene.agent.ask(call("echo", case="plain", text=CANARY))).status == 200
        parent = f"00-{TRACE}-{SPAN}-01"
        meta = {"traceparent": parent, "tracestate": "a=1", "baggage": f"key={CANARY}"}
        message = call("echo", case="traced", text=CANARY)
        message["params"]["_meta"] = {**message["params"].get("_meta", {}), **meta}
        headers = {"traceparent": parent, "tracestate": "a=1", "baggage": "key=1"}
        assert (await scene.agent.ask(message, headers=headers.items())).status == 200

        async def named() -> bool:
            return "DOES NOT GO OUT" in await lab.client_command("status")

        await eventually(named)
        with collector.up():
            await eventually(lambda: len(spans(collector)) >= 4)
            await eventually(lambda: all_sent(lab))
        seen = scene.upstream.calls("traced")[0]
        arrived = dict(seen.headers)
        assert arrived["traceparent"] == parent
        assert not {"tracestate", "baggage"} & set(arrived)
        assert json.loads(seen.body)["params"]["_meta"]["traceparent"] == parent
        traced = [each for each in spans(collector) if each["traceId"] == TRACE]
        assert sorted(each["program"] for each in traced) == ["tunnel-client", "tunnel-relay"]
        # The relay repeats no name that the client did not tell.
        assert {each["name"] for each in traced} == {"tools/call", "tools/call echo"}
        assert {each["parentSpanId"] for each in traced} == {SPAN}
        for program in ("client", "relay"):
            folder = lab.folder / program / "state" / "audit"
            intents = records(folder, "call.intent")
            traces = [each.get("trace") for each in intents]
            assert traces.count(f"{TRACE}-{SPAN}") == 1
        counted = durations(collector)
        for program, side in (("relay", "server"), ("client", "client")):
            ended = records(lab.folder / program / "state" / "audit", "call.completion")
            mine = {key: each for key, each in counted.items() if key[0].split(".")[1] == side}
            assert sum(mine.values()) == len(ended) == 2
            # Nobody pinned it: its name is no label.
            assert mine[f"mcp.{side}.operation.duration", "tools/call", ""] == 2
        assert scene.agent.token is not None
        unsaid = (CANARY, scene.agent.token.get_secret_value())
        for program in ("relay", "client"):
            for name in FILES:
                text = (lab.folder / f"{program}-{name}").read_bytes()
                assert SERVER.encode() in text
                assert b"call.completion" in text
                for secret in unsaid:
                    assert [each for each in hiding(secret) if each in text] == []
        assert set(collector.paths) == {"/v1/traces", "/v1/metrics"}
        for secret in unsaid:
            for body in collector.bodies:
                assert [each for each in hiding(secret) if each in body] == []
        heads = zip(collector.paths, collector.heads, strict=True)
        assert {(path, head.get("Authorization")) for path, head in heads} == {
            ("/v1/traces", f"Bearer {CANARY}"),
            ("/v1/metrics", None),
        }
        logs = b"".join(path.read_bytes() for path in lab.folder.glob("*/*.log"))
        logs += b"".join(path.read_bytes() for path in lab.folder.glob("*.log"))
        assert b"export_failing" in logs
        assert CANARY.encode() not in logs
