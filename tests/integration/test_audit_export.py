"""Both programs export what agents do: in every format, without a secret, traces passed on."""

import json
from typing import Any

import pytest

from tests.helpers.agent import call
from tests.helpers.audit_log import hiding, records
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
            lab.environment[f"TUNNEL_{program.upper()}_AUDIT__EXPORT"] = json.dumps(exports)
        lab.environment["OTEL_TOKEN"] = CANARY

    return prepare


def spans(collector: HttpServer) -> list[dict[str, Any]]:
    return [
        span | {"program": resource["resource"]["attributes"][0]["value"]["stringValue"]}
        for body in list(collector.bodies)
        for resource in json.loads(body)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


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
        assert {(each["name"], each["parentSpanId"]) for each in traced} == {
            ("tools/call echo", SPAN)
        }
        for folder in (lab.folder / "client" / "state" / "audit", lab.relay_audit):
            intents = records(folder, "call.intent")
            traces = [each.get("trace") for each in intents]
            assert traces.count(f"{TRACE}-{SPAN}") == 1
        for program in ("relay", "client"):
            for name in FILES:
                text = (lab.folder / f"{program}-{name}").read_bytes()
                assert SERVER.encode() in text
                assert b"call.completion" in text
                assert scene.agent.token is not None
                for secret in (CANARY, scene.agent.token.get_secret_value()):
                    assert [each for each in hiding(secret) if each in text] == []
        assert [each for each in hiding(CANARY) if any(each in b for b in collector.bodies)] == []
        assert collector.heads[0]["Authorization"] == f"Bearer {CANARY}"
        logs = b"".join(path.read_bytes() for path in lab.folder.glob("*/*.log"))
        logs += b"".join(path.read_bytes() for path in lab.folder.glob("*.log"))
        assert b"export_failing" in logs
        assert CANARY.encode() not in logs
