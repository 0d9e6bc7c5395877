"""`/metrics` of running programs, after real calls."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.agent import call
from tests.helpers.tunnel import TUNNEL, Lab, end, free_port
from tests.integration.scene import LINKS, OTHER, SERVER, Scene, eventually, open_scene
from tests.tunnel_relay.console.stage import PASSWORD

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SECRET = "cnry-Hq3v9Zt6Ry1Wm8Xs+/Ka=4"
DENIES_ONE = """\
version: 1
rules:
  - {id: everything, match: {method: "*"}, effect: allow}
  - {id: but-not-this, match: {tool: "forbidden"}, effect: deny}
"""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """Return every sample of a page by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float | None:
    """Return one sample, None when there is none."""
    return found.get((f"mcp_tunnel_{name}", tuple(sorted(labels.items()))))


@asynccontextmanager
async def admin_listener() -> AsyncIterator[tuple[Scene, httpx2.AsyncClient]]:
    """Run a relay with an admin listener; nobody is logged in."""
    port = free_port()
    async with (
        open_scene({"admin.port": port}) as scene,
        httpx2.AsyncClient(base_url=f"http://localhost:{port}", trust_env=False) as http,
    ):
        yield scene, http


async def bearer(scene: Scene, user: str, *words: str) -> dict[str, str]:
    """Make a user and what shows a token of theirs."""
    password = scene.lab.folder / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD + "\n")
    await scene.lab.relay_command("user", "add", user, "--password-file", str(password), *words)
    made = await scene.lab.relay_json("user", "token", user, "--ttl", "10m")
    return {"Authorization": f"Bearer {made['token']}"}


async def test_the_relay_counts_what_its_agents_and_clients_do() -> None:
    async with admin_listener() as (scene, http):
        await scene.serves()
        await scene.linked()
        assert (await scene.agent.with_token(None).ask(call("echo"))).status == 401
        gone = await scene.grant()
        await scene.lab.relay_command("session", "revoke", gone.id, "--reason", "over")
        headers = await bearer(scene, "otto", "--role", "auditor")

        async def counted() -> bool:
            page = samples((await http.get("/metrics", headers=headers)).text)
            name = {"upstream": f"{TUNNEL}/server", "method": "tools/call", "outcome": "ok"}
            return value(page, "calls_total", **name) == 1

        await eventually(counted)
        page = samples((await http.get("/metrics", headers=headers)).text)
        assert value(page, "links", tunnel=TUNNEL) == LINKS
        assert value(page, "link_rtt_seconds", tunnel=TUNNEL) is not None
        assert value(page, "sessions_active") == 1
        assert value(page, "streams_active") == 0
        assert value(page, "approvals_pending") == 0
        assert value(page, "store_errors_total") == 0
        assert value(page, "refused_total", status="401") == 1
        assert value(page, "revocation_seconds_count") == 1
        assert value(page, "call_duration_seconds_count", upstream=f"{TUNNEL}/server") == 1
        assert value(page, "audit_lag_seconds") == 0
        assert value(page, "audit_failing") == 0


async def test_a_client_that_does_not_come_back_is_missed_by_the_next_relay_too() -> None:
    async with admin_listener() as (scene, http):
        headers = await bearer(scene, "otto", "--role", "auditor")
        await scene.lab.relay_command("tunnel", "create", "empty", "--owner", "ada")
        await scene.linked()
        await end(scene.lab.client)
        await end(scene.lab.relay)
        await scene.lab.start_relay()
        page = samples((await http.get("/metrics", headers=headers)).text)
        assert value(page, "links", tunnel=TUNNEL) == 0
        assert value(page, "links", tunnel="empty") is None, "nobody has enrolled there"
        await scene.lab.relay_command("tunnel", "disable", TUNNEL)
        page = samples((await http.get("/metrics", headers=headers)).text)
        assert value(page, "links", tunnel=TUNNEL) is None


async def test_metrics_are_for_auditors_and_say_nothing_about_people() -> None:
    """U04, U05: neither an agent's token nor that of a user without a role opens them."""
    async with admin_listener() as (scene, http):
        await scene.serves()
        assert (await http.get("/metrics")).status_code == 401
        assert scene.agent.token is not None
        secret = scene.agent.token.get_secret_value()
        theirs = {"Authorization": f"Bearer {secret}"}
        assert (await http.get("/metrics", headers=theirs)).status_code == 401
        uma = await bearer(scene, "uma")
        assert (await http.get("/metrics", headers=uma)).status_code == 403
        for role in ("auditor", "admin"):
            headers = await bearer(scene, f"who-{role}", "--role", role)
            answer = await http.get("/metrics", headers=headers)
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/plain")
            for hidden in (secret, scene.main.id, "ada", "echo", "uma"):
                assert hidden not in answer.text
            foreign = headers | {"Host": "evil.example"}
            assert (await http.get("/metrics", headers=foreign)).status_code == 421
            assert (await http.post("/metrics", headers=headers)).status_code in (403, 405)


def give_credential(scene: Scene) -> None:
    """Have the client show `server` a credential; one of its tools repeats what it is shown."""
    secret = scene.lab.folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    entry = f'name = "{SERVER}"\nurl = "{scene.upstream.url}"\n'
    origin = scene.upstream.url.removesuffix("/mcp")
    table = f'kind = "bearer", origin = "{origin}", value = "file:{secret}"'
    config = scene.lab.client_config
    text = config.read_text()
    assert entry in text
    config.write_text(text.replace(entry, f"{entry}credential = {{ {table} }}\n"))


def alerts() -> list[Any]:
    """Return the alert rules."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    """Return every expression of the dashboard and of the alert rules."""
    board = json.loads((DEPLOY / "grafana" / "mcp-tunnel.json").read_text())
    shown = [each["expr"] for panel in board["panels"] for each in panel["targets"]]
    return [*shown, *(rule["expr"] for rule in alerts())]


def uses(text: str) -> list[tuple[str, str]]:
    """Return each name of an expression with each label that it has to have; "" for the name."""
    found = []
    for name, matchers in re.findall(r"\b(mcp_tunnel_\w+)(?:\{([^}]*)\})?", text):
        found.append((name, ""))
        found += [(name, label) for label in re.findall(r"(\w+)\s*[!=]=?~?\s*\"", matchers)]
    grouped = re.findall(r"by \(([^)]*)\)[^a-z]*(?:\w+\()?(mcp_tunnel_\w+)", text)
    found += [(name, label.strip()) for labels, name in grouped for label in labels.split(",")]
    given = ("job", "instance")  # what Prometheus itself adds
    return [(name, label) for name, label in found if label not in given]


def labels_by_name(page: str) -> dict[str, set[str]]:
    """Return the labels of each sample of a page, and "" where the name is there at all."""
    found: dict[str, set[str]] = {}
    for name, labels in samples(page):
        found.setdefault(name, {""}).update(label for label, _ in labels)
    return found


Rows = dict[str, tuple[set[str], str]]
"""Names with their labels and the program: relay, client or both."""


def documented() -> Rows:
    """Return what docs/operations.md says there is."""
    row = re.compile(r"^\| `(mcp_tunnel_\w+)` \| ([^|]*)\| (\w+) \| \S", re.MULTILINE)
    found = row.findall((DEPLOY.parent / "docs" / "operations.md").read_text())
    return {name: (set(re.findall(r"\w+", labels)), where) for name, labels, where in found}


def exported(pages: list[str]) -> Rows:
    """Return what is on pages of which each says by itself whose it is."""
    found: Rows = {}
    for page in pages:
        program = "relay" if 'program="relay"' in page else "client"
        for family in text_string_to_metric_families(page):
            if not family.name.startswith("mcp_tunnel_"):
                continue
            name = family.name + ("_total" if family.type == "counter" else "")
            labels, where = found.get(name, (set(), program))
            for sample in family.samples:
                labels |= sample.labels.keys() - {"le"}
            found[name] = labels, where if where == program else "both"
    return found


def health_at(port: int) -> Callable[[Lab], None]:
    """Return what makes a lab's client listen there."""

    def prepare(lab: Lab) -> None:
        lab.environment["TUNNEL_CLIENT_HEALTH__LISTEN"] = f"127.0.0.1:{port}"
        for program in ("RELAY", "CLIENT"):
            copy = {"name": "copy", "to": f"file:{lab.folder}/{program}"}
            lab.environment[f"TUNNEL_{program}_AUDIT__EXPORT"] = json.dumps([copy])

    return prepare


async def test_the_client_counts_and_says_whether_it_is_ready() -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    async with (
        open_scene(prepare=health_at(port), start=False) as scene,
        httpx2.AsyncClient(base_url=base, trust_env=False) as http,
    ):
        give_credential(scene)
        await scene.lab.start_client([SERVER, OTHER])
        await scene.serves()
        await scene.agent.ask(call("headers"))
        await scene.linked()
        assert (await http.get("/healthz")).json() == {"alive": True}
        ready = await http.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["upstreams"] == {"other": {"reason": None}, "server": {"reason": None}}
        shown = json.loads(await scene.lab.client_command("status", "--json"))
        assert [each["silent_after"] for each in shown["links"]] == [25.0] * LINKS

        text = (await http.get("/metrics")).text
        page = samples(text)
        name = {"upstream": "server", "method": "tools/call", "outcome": "ok"}
        assert value(page, "calls_total", **name) == 2
        assert value(page, "call_duration_seconds_count", upstream="server") == 2
        assert value(page, "links") == LINKS
        assert value(page, "sessions_active") == 1
        assert value(page, "scrub_hits_total", upstream="server") == 1
        for hidden in (scene.main.id, SECRET, "ada", "echo"):
            assert hidden not in text

        await end(scene.lab.relay)

        async def unready() -> bool:
            answer = await http.get("/readyz")
            return answer.status_code == 503 and answer.json()["reason"] == "no link"

        await eventually(unready)

        async def tried() -> bool:
            found = samples((await http.get("/metrics")).text)
            return value(found, "reconnects_total", reason="unreachable") is not None

        await eventually(tried)
        assert value(samples((await http.get("/metrics")).text), "links") == 0


async def test_dashboard_and_alerts_ask_for_what_there_is() -> None:
    """Every name and label in the files of `deploy/` is on a page of a program that was used."""
    relay, client = free_port(), free_port()
    async with (
        open_scene({"admin.port": relay}, prepare=health_at(client), start=False) as scene,
        httpx2.AsyncClient(trust_env=False) as http,
    ):
        give_credential(scene)
        (scene.lab.client_config.parent / "policy.yaml").write_text(DENIES_ONE)
        await scene.lab.start_client([SERVER, OTHER])
        await scene.serves()
        await scene.agent.ask(call("headers"))
        await scene.agent.ask(call("forbidden"))
        await scene.agent.with_token(None).ask(call("echo"))
        headers = await bearer(scene, "otto", "--role", "auditor")
        await end(scene.lab.client)
        await scene.linked(0)
        at_relay = f"http://localhost:{relay}/metrics"
        pages = [(await http.get(at_relay, headers=headers)).text]
        await scene.lab.start_client([SERVER, OTHER])
        await scene.serves()
        await scene.agent.ask(call("headers"))
        await scene.agent.ask(call("forbidden"))
        pages.append((await http.get(at_relay, headers=headers)).text)
        at_client = f"http://127.0.0.1:{client}/metrics"
        pages.append((await http.get(at_client)).text)
        await end(scene.lab.relay)

        async def dialled() -> bool:
            return "mcp_tunnel_reconnects_total{" in (await http.get(at_client)).text

        await eventually(dialled)
        pages.append((await http.get(at_client)).text)

    assert documented() == exported(pages)
    known: dict[str, set[str]] = {}
    for page in pages:
        for name, labels in labels_by_name(page).items():
            known.setdefault(name, set()).update(labels)
    wanted = [use for text in expressions() for use in uses(text)]
    assert len(wanted) > 20
    unknown = {(name, label) for name, label in wanted if label not in known.get(name, set())}
    assert unknown == set()


def test_every_alert_says_what_to_do() -> None:
    rules = alerts()
    assert len(rules) >= 5
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert {"summary", "runbook"} <= set(rule["annotations"]), rule["alert"]
        assert len(rule["annotations"]["runbook"]) > 60
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
