"""The whole thing on one machine: `make demo`, or `make demo ONCE=1` to end by itself.

Relay, client and three real MCP servers, started by the commands a person would type; an agent
that calls them through the tunnel; a person who approves a call that changes something; a session
that is revoked in the middle of a call. TLS is on.
The exit code is 0 only when every step did what it says.
"""

import argparse
import asyncio
import json
import re
import secrets
import shlex
import sys
import time
from pathlib import Path

import anyio
import httpx2

from tests.helpers.curtain import with_signals
from tests.helpers.demo_agent import CALL_SECONDS, DemoAgent, call
from tests.helpers.demo_approver import Approver
from tests.helpers.stage import Stage, StageError, milliseconds
from tests.helpers.throwaway_repository import SUBJECT, make_repository
from tests.helpers.tunnel import free_port

TUNNEL = "office"
COMMITS = 5000
PYTHON = (sys.executable, "-m")
ADMIN = "admin"
APPROVER = "pia"
CUT_MILLISECONDS = 1000
"""What a revocation may take on a living link."""


class Demo:
    """One run of the demo; every method is a step that raises StageError when it fails."""

    def __init__(self, stage: Stage, port: int) -> None:
        self.stage = stage
        self.folder = stage.folder
        self.port = port
        self.origin = f"https://localhost:{port}"
        self.console_port = free_port()
        self.tickets_url = ""
        self.agent = DemoAgent(stage, self.origin, TUNNEL)

    async def run(self) -> None:
        """Do every step but the last, which is to stay up."""
        await self.private_servers()
        await self.relay()
        await self.client()
        await self.sessions()
        await self.agent_calls()
        await self.approval()
        await self.big_answer()
        await self.for_people()
        await self.revoke_in_the_middle()
        await self.refused_call()

    # The private network, the relay, the client -------------------------------------------------

    async def private_servers(self) -> None:
        """Start what is to be reached: three MCP servers that nothing outside can call."""
        stage = self.stage
        stage.step("Three private MCP servers")
        desk = await stage.start("tickets", *PYTHON, "tests.helpers.ticket_desk", show=False)
        assert desk.stdout is not None
        with anyio.fail_after(CALL_SECONDS):
            self.tickets_url = (await desk.stdout.readline()).decode().strip()
        if not self.tickets_url.startswith("http://127.0.0.1:"):
            raise StageError("the ticket desk did not start")
        stage.say(f"   - tickets: over HTTP at {self.tickets_url} (ours, on the SDK)")
        stage.say("   - time:    mcp-server-time over stdio; the client starts it when needed")
        with stage.timed(f"git:     mcp-server-git over stdio; a repository of {COMMITS} commits"):
            await asyncio.to_thread(make_repository, self.folder / "repository", COMMITS)

    async def relay(self) -> None:
        """Set up the relay and serve; register the tunnel."""
        stage = self.stage
        stage.step(
            "The relay, on a public machine (here on loopback, TLS with a certificate made for it)"
        )
        listen = f"127.0.0.1:{self.port}"
        state = str(self.folder / "relay")
        await stage.run(
            *("tunnel-relay", "init", "--demo", "--listen", listen, "--state-dir", state),
            *("--admin-listen", f"127.0.0.1:{self.console_port}"),
            lines=3,
        )
        self.agent.trust.load_verify_locations(self.folder / "relay" / "dev-ca.pem")
        began = time.perf_counter()
        await stage.start("relay", "tunnel-relay", "serve")
        async with httpx2.AsyncClient(verify=self.agent.trust) as http:

            async def serves() -> bool:
                try:
                    return (await http.get(f"{self.origin}/readyz")).status_code == 200
                except httpx2.TransportError:
                    return False

            await stage.until(serves, "the relay serves")
        stage.note(f"the relay answers at {self.origin}  [{milliseconds(began)}]")

    async def client(self) -> None:
        """Enrol a client with a join code, name the servers, run it, wait for its link."""
        stage = self.stage
        stage.step("The client, in the private network: it dials out, and opens no port")
        made = await stage.run("tunnel-relay", "tunnel", "create", TUNNEL, "--owner", "ada")
        code = made.splitlines()[0]
        await stage.run(
            *("tunnel-client", "enroll", f"wss://localhost:{self.port}"),
            *("--ca-file", str(self.folder / "relay" / "dev-ca.pem")),
            *("--state-dir", str(self.folder / "client"), "--join-code-file", "-"),
            stdin=code + "\n",
            lines=1,
        )
        await self.upstreams(str(self.folder / "repository"))
        began = time.perf_counter()
        await stage.start("client", "tunnel-client", "run")
        await stage.until(self._linked, "the client's link is up")
        stage.note(f"the link is up, and the relay knows the servers  [{milliseconds(began)}]")
        await stage.run("tunnel-client", "status", lines=20)

    async def upstreams(self, repository: str) -> None:
        """Name the servers; each is listed, and its tools are pinned with a class."""
        stage = self.stage
        stage.step("What may be reached: each tool is pinned as it is, with a class (read, write)")
        add = ("tunnel-client", "upstream", "add")
        await stage.run(
            *(*add, "tickets", "--yes", "--url", self.tickets_url), lines=30, all_of_it=True
        )
        stage.say("   - export_tickets is proposed as external_send, by its name. The operator")
        stage.say("     knows better: it only reports to whoever asks. So it is classified read:")
        await stage.run("tunnel-client", "tool", "classify", "tickets", "export_tickets", "read")
        await stage.run(*add, "time", "--yes", "--", "mcp-server-time", lines=40, all_of_it=True)
        git = ("mcp-server-git", "--repository", repository)
        await stage.run(
            *(*add, "git", "--yes", "--read", repository, "--", *git), lines=50, all_of_it=True
        )
        stage.step(
            "The client runs. Its policy: read and draft are allowed, a person approves the rest"
        )
        await stage.run("tunnel-client", "policy", "check")

    async def _linked(self) -> bool:
        shown = await self.stage.quietly("tunnel-relay", "tunnel", "show", TUNNEL, "--json")
        return set(json.loads(shown)["tunnel"]["upstreams"]) == {"tickets", "time", "git"}

    async def sessions(self) -> None:
        """Grant an agent access, one session a server."""
        self.stage.step("Sessions: user ada may use these servers with one agent, for 8 hours")
        for upstream in ("tickets", "time", "git"):
            said = await self.stage.run(
                *("tunnel-relay", "session", "create", "--user", "ada", "--agent", "demo"),
                *("--server", f"{TUNNEL}/{upstream}", "--ttl", "8h"),
                lines=1,
            )
            self.agent.tokens[upstream] = said.splitlines()[0]

    # The agent ----------------------------------------------------------------------------------

    async def agent_calls(self) -> None:
        """Connect in both eras, list tools, call, and hear a call's progress."""
        stage, agent = self.stage, self.agent
        stage.step("An agent (the MCP SDK's client) calls them through the tunnel")
        async with agent.connect("time") as time_server:
            await agent.introduce("time", time_server)
            noon = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
            await agent.show_call(time_server, "convert_time", noon, "21:00")
        async with agent.connect("tickets") as tickets:
            await agent.introduce("tickets", tickets)
            await agent.show_call(tickets, "list_tickets", {}, "#2 [waiting] VPN gateway")
            await agent.show_progress(tickets)
        async with agent.connect("tickets", "legacy") as tickets:
            stage.say(f"   - the same URL for an older agent: MCP {tickets.protocol_version}")
            await agent.show_call(tickets, "list_tickets", {}, "#1 [open] Printer")

    async def approval(self) -> None:
        """Call a tool that writes: a person approves exactly this call, and it runs once."""
        stage, agent = self.stage, self.agent
        stage.step("A call that changes something waits for a person")
        approver = Approver(stage, APPROVER)
        await approver.arrive()
        opened = {"title": "An agent was here"}
        async with agent.connect("tickets") as tickets:
            waiting = await agent.show_pending(tickets, "open_ticket", opened)
            stage.step(f"{APPROVER} sees exactly what would run, and says yes")
            await approver.approve(waiting, *opened.values())
            stage.step("The agent repeats the call; it runs, once")
            await agent.show_call(tickets, "open_ticket", opened, "#3 [open] An agent was here")
            again = await agent.show_pending(tickets, "open_ticket", opened)
            if again == waiting:
                raise StageError("a used approval is pending again")
            if "#4" in await call(tickets, "list_tickets", {}):
                raise StageError("one approval opened two tickets")
            await agent.show_call(tickets, "list_tickets", {}, "#3 [open] An agent was here")

    async def big_answer(self) -> None:
        """Fetch the whole history in one answer, with small calls beside it."""
        stage = self.stage
        stage.step(f"A large answer: the log of {COMMITS} commits")
        asked = {"repo_path": str(self.folder / "repository"), "max_count": COMMITS}
        async with self.agent.connect("git") as git, self.agent.connect("tickets") as tickets:
            began = time.perf_counter()
            small: list[float] = []
            async with asyncio.TaskGroup() as tasks:
                log = tasks.create_task(call(git, "git_log", asked))
                while not log.done():
                    before = time.perf_counter()
                    await call(tickets, "list_tickets", {})
                    small.append(time.perf_counter() - before)
            took = milliseconds(began)
        text = log.result()
        if SUBJECT.format(number=1) not in text or SUBJECT.format(number=COMMITS) not in text:
            raise StageError("the log is not whole")
        stage.say(f"   - git_log: {len(text) / 1024:.0f} KiB, first to last commit  [{took}]")
        stage.note(f"{len(small)} small calls meanwhile, the slowest in {max(small) * 1000:.0f} ms")

    # People -------------------------------------------------------------------------------------

    async def for_people(self) -> None:
        """Show what a person pastes into an agent, and what an admin sees."""
        self.stage.step("What to paste into an agent (never with the token inside)")
        info = await self.stage.run(
            *("tunnel-relay", "connect-info", f"{TUNNEL}/tickets", "--for", "claude-code"),
            lines=20,
        )
        if self.agent.url("tickets") not in info or "mts_" in info:
            raise StageError("connect-info is not what an agent needs")
        self.stage.step("What an admin sees")
        listed = await self.stage.run("tunnel-relay", "session", "list")
        if len(listed.splitlines()) != 1 + len(self.agent.tokens):
            raise StageError("not every session is listed")
        await self.stage.run("tunnel-relay", "status")
        await self.console()

    async def console(self) -> None:
        """Add an admin, and see that the console lets them in and shows the sessions."""
        word = secrets.token_urlsafe(9)
        file = self.folder / "console-password"
        file.touch(mode=0o600)
        file.write_text(word + "\n")
        await self.stage.run(
            *("tunnel-relay", "user", "add", ADMIN, "--role", "admin"),
            *("--server", f"{TUNNEL}/*", "--password-file", str(file)),
        )
        url = f"http://127.0.0.1:{self.console_port}"
        async with httpx2.AsyncClient(base_url=url) as http:
            form = {"user": ADMIN, "password": word}
            answer = await http.post("/login", data=form, headers={"Origin": url})
            # A browser takes this Secure cookie on loopback; Python's does not.
            cookie = answer.headers.get("set-cookie", "").partition(";")[0]
            shown = await http.get("/sessions", headers={"Cookie": cookie})
            if answer.status_code != 303 or f"{TUNNEL}/tickets" not in shown.text:
                raise StageError(f"the console does not show the sessions ({shown.status_code})")
        self.stage.say(f"   - the same in a browser: {url}  (log in as {ADMIN}, {word})")

    async def revoke_in_the_middle(self) -> None:
        """Revoke the session of a call that is running; the call has to end at once."""
        stage = self.stage
        stage.step("A session is revoked while its call runs")
        session = await self._session_of("tickets")
        running = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            call_that_ends = tasks.create_task(self.agent.endless_call(running))
            with anyio.fail_after(CALL_SECONDS):
                await running.wait()
            stage.say("   - export_tickets of 600 pages (a minute's work) is running")
            began = time.time()
            said = await stage.run("tunnel-relay", "session", "revoke", session)
            with anyio.fail_after(CALL_SECONDS):
                told, ended = await call_that_ends
        cut = re.search(r"cut 1 streams on 2 links in (\d+) ms", said)
        if cut is None or int(cut[1]) > CUT_MILLISECONDS:
            raise StageError(f"the call was not cut in time: {said}")
        stage.say(f"   - the agent was told, {(ended - began) * 1000:.0f} ms after the Enter key:")
        stage.note(told)

    async def _session_of(self, upstream: str) -> str:
        listed = json.loads(await self.stage.quietly("tunnel-relay", "session", "list", "--json"))
        server = f"{TUNNEL}/{upstream}"
        [session] = [each["id"] for each in listed["sessions"] if each["server"] == server]
        return str(session)[:12]

    async def refused_call(self) -> None:
        """Call with the revoked session: refused, and the other sessions still work."""
        stage = self.stage
        stage.step("The next call with that token is refused; the other sessions still work")
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        headers = {"Authorization": f"Bearer {self.agent.tokens['tickets']}"}
        accept = {"Accept": "application/json, text/event-stream"}
        async with httpx2.AsyncClient(verify=self.agent.trust) as http:
            answer = await http.post(self.agent.url("tickets"), json=body, headers=headers | accept)
        if answer.status_code != 401 or "www-authenticate" not in answer.headers:
            raise StageError(f"a revoked session was answered {answer.status_code}")
        stage.say(
            f"   - tickets, raw: HTTP {answer.status_code} {answer.json()['error']['message']}"
        )
        async with self.agent.connect("time") as server:
            asked = {"timezone": "Asia/Tokyo"}
            await self.agent.show_call(server, "get_current_time", asked, "Asia/Tokyo")
        listed = await stage.run("tunnel-relay", "session", "list", "--all")
        if listed.count("revoked") != 1:
            raise StageError("the list does not show the revoked session")


def welcome(stage: Stage) -> None:
    """Say what comes, and how to join in from another terminal."""
    stage.say("mcp-tunnel demo: an agent calls private MCP servers through one outbound link.")
    stage.say("Everything is on this machine, in a folder that is removed at the end.")
    stage.say("To type the same commands in another terminal while it runs:")
    # Not through `note`, which would shorten the very folder that is named here.
    print(f"     export DEMO={shlex.quote(str(stage.folder))}")
    print(f'     export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')
    print("     export TUNNEL_RELAY_CONFIG=$DEMO/relay.toml TUNNEL_CLIENT_CONFIG=$DEMO/client.toml")


async def stay(stage: Stage) -> None:
    """Wait for Ctrl-C."""
    stage.step("It stays up: connect an agent of your own. Ctrl-C ends it")
    stage.say(f"   $ tunnel-relay session create --user ada --agent mine --server {TUNNEL}/time")
    stage.say(f"   $ tunnel-relay connect-info {TUNNEL}/time --for json")
    stage.say("   - or an agent that logs you in by itself, as the user of the console above")
    stage.say("   - agents need the certificate too, for example NODE_EXTRA_CA_CERTS or")
    stage.say(f"     SSL_CERT_FILE={stage.folder / 'relay' / 'dev-ca.pem'}")
    await asyncio.Event().wait()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the last step")
    once = parser.parse_args().once

    async def play(stage: Stage) -> None:
        welcome(stage)
        await Demo(stage, free_port()).run()
        if not once:
            await stay(stage)

    sys.exit(asyncio.run(with_signals(play, "demo")))


if __name__ == "__main__":
    main()
