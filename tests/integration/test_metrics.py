"""`/metrics` of running programs, after real calls."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.agent import call
from tests.helpers.tunnel import TUNNEL, Lab, end, free_port
from tests.integration.scene import Scene, eventually, open_scene
from tests.tunnel_relay.console.stage import PASSWORD

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
        assert value(page, "links", tunnel=TUNNEL) == 1
        assert value(page, "link_rtt_seconds", tunnel=TUNNEL) is not None
        assert value(page, "sessions_active") == 1
        assert value(page, "streams_active") == 0
        assert value(page, "approvals_pending") == 0
        assert value(page, "store_errors_total") == 0
        assert value(page, "refused_total", status="401") == 1
        assert value(page, "revocation_seconds_count") == 1
        assert value(page, "call_duration_seconds_count", upstream=f"{TUNNEL}/server") == 1
        assert value(page, "audit_lag_seconds") is None


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


def health_at(port: int) -> Callable[[Lab], None]:
    """Return what makes a lab's client listen there."""

    def prepare(lab: Lab) -> None:
        lab.environment["TUNNEL_CLIENT_HEALTH__LISTEN"] = f"127.0.0.1:{port}"

    return prepare


async def test_the_client_counts_and_says_whether_it_is_ready() -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    async with (
        open_scene(prepare=health_at(port)) as scene,
        httpx2.AsyncClient(base_url=base, trust_env=False) as http,
    ):
        await scene.serves()
        assert (await http.get("/healthz")).json() == {"alive": True}
        ready = await http.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["upstreams"] == {"other": {"reason": None}, "server": {"reason": None}}

        page = samples((await http.get("/metrics")).text)
        name = {"upstream": "server", "method": "tools/call", "outcome": "ok"}
        assert value(page, "calls_total", **name) == 1
        assert value(page, "call_duration_seconds_count", upstream="server") == 1
        assert value(page, "links") == 1
        assert value(page, "sessions_active") == 1
        assert scene.main.id not in (await http.get("/metrics")).text

        await end(scene.lab.relay)

        async def unready() -> bool:
            answer = await http.get("/readyz")
            return answer.status_code == 503 and answer.json()["reason"] == "no link"

        await eventually(unready)

        async def tried() -> bool:
            found = samples((await http.get("/metrics")).text)
            return value(found, "links") == 0 and any(
                key[0] == "mcp_tunnel_reconnects_total" for key in found
            )

        await eventually(tried)
