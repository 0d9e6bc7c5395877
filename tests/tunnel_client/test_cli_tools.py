"""The commands about tools, on servers that are honest, that change and that are down."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import Result

from tests.helpers.audit_log import records
from tests.helpers.fixture_process import ticket_desk
from tests.helpers.shifty_server import Shifty, shifty
from tests.tunnel_client.catalog.test_catalog import ADD, DROP, EVIL, item
from tests.tunnel_client.test_cli import call
from tests.tunnel_client.test_settings import HEAD
from tunnel_client.catalog.catalog import Catalog
from tunnel_client.catalog.definitions import Kind
from tunnel_client.catalog.listing import Listing
from tunnel_client.catalog.marks import FILE_NAME as MARKS_FILE
from tunnel_client.catalog.pins import FILE_NAME, Pins, read_pins
from tunnel_client.control import SOCKET_FILE, ControlServer
from tunnel_client.credentials.scrub import MASK
from tunnel_client.identity import Identity, StateLock

DOWN = "http://127.0.0.1:1/mcp"


class Desk:
    """A configuration with one server in it, and the commands on it."""

    def __init__(self, folder: Path, server: Shifty) -> None:
        self.config = folder / "client.toml"
        self.state = folder / "state"
        self.server = server
        self.write(server.url)

    def write(self, url: str, more: str = "") -> None:
        self.config.write_text(f'{HEAD}[[upstream]]\nname = "desk"\nurl = "{url}"\n{more}')

    async def do(self, *words: str, stdin: str | None = None) -> Result:
        with anyio.fail_after(60):
            return await asyncio.to_thread(call, *words, "--config", self.config, stdin=stdin)

    async def ask(self, *words: str) -> Any:
        result = await self.do(*words, "--json")
        assert result.exit_code == 0, result.output
        answer = json.loads(result.stdout)
        assert answer["schema_version"] == 1
        return answer

    def classes(self) -> dict[str, str | None]:
        pins = read_pins(self.state)
        return {name: str(pin.tool_class) for (_, _, name), pin in pins.items()}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with shifty(tools=[ADD, DROP]) as server:
        yield Desk(tmp_path, server)


async def states(desk: Desk) -> dict[str, str]:
    listed = await desk.ask("tool", "list", "desk")
    return {tool["name"]: tool["state"] for tool in listed["upstreams"]["desk"]["tools"]}


@pytest.mark.parametrize("words", ["", "list", "diff", "pin", "classify"])
def test_every_command_explains_itself(words: str) -> None:
    assert "Usage:" in call("tool", *words.split(), "--help").stdout


async def test_tools_are_pinned_change_and_are_pinned_again(desk: Desk) -> None:
    """P13, as an operator meets it."""
    assert await states(desk) == {"add": "new", "drop": "new"}
    first = await desk.do("tool", "pin", "desk", stdin="y\n")
    assert first.exit_code == 0, first.output
    assert '"description": "Adds."' in first.stdout
    assert "pinned 2 definitions" in first.stdout
    # P12: what the server says of its drop tool proposes nothing lighter.
    assert desk.classes() == {"add": "write", "drop": "admin"}
    assert await states(desk) == {"add": "pinned", "drop": "pinned"}
    assert "every tool is as it was pinned" in (await desk.do("tool", "diff", "desk")).stdout
    desk.server.tools = [EVIL, DROP]
    assert (await states(desk))["add"] == "changed"
    changed = await desk.do("tool", "diff", "desk")
    assert '-  "description": "Adds.",' in changed.stdout
    assert "+" in changed.stdout
    difference = (await desk.ask("tool", "diff", "desk", "add"))["tools"][0]
    assert {flag["code"] for flag in difference["flags"]} == {"hidden_markup", "instruction"}
    kept = await desk.do("tool", "pin", "desk", "add", stdin="n\n")
    assert "nothing was pinned" in kept.stdout
    assert (await states(desk))["add"] == "changed"
    pinned = await desk.ask("tool", "pin", "desk", "--all", "--yes")
    assert [one["name"] for one in pinned["pinned"]] == ["add"]
    assert await states(desk) == {"add": "pinned", "drop": "pinned"}
    assert (await desk.do("tool", "pin", "desk", "--all", "--yes")).stdout == "nothing to pin\n"


async def test_a_class_is_given_and_changed_by_hand(desk: Desk) -> None:
    assert (await desk.do("tool", "pin", "desk", "add", "--class", "read", "--yes")).exit_code == 0
    assert desk.classes() == {"add": "read"}
    answer = await desk.ask("tool", "classify", "desk", "add", "break_glass")
    assert answer["class"] == "break_glass"
    assert desk.classes() == {"add": "break_glass"}
    # A class that was given stays when the definition is pinned again.
    desk.server.tools = [EVIL]
    await desk.ask("tool", "pin", "desk", "add", "--yes")
    assert desk.classes() == {"add": "break_glass"}
    unknown = await desk.do("tool", "classify", "desk", "drop", "read")
    assert (unknown.exit_code, unknown.stderr[:8]) == (1, "MT2542: ")
    assert (await desk.do("tool", "classify", "desk", "add", "harmless")).exit_code == 2


async def test_the_log_says_nothing_of_what_was_refused(desk: Desk) -> None:
    log = desk.state / "audit"
    assert (await desk.do("tool", "classify", "desk", "add", "admin")).exit_code == 1
    assert (await desk.do("tool", "pin", "desk", "nosuchtool", "--yes")).exit_code == 1
    assert records(log, "tool.classified") == records(log, "tool.pinned") == []
    await desk.ask("tool", "pin", "desk", "add", "--yes")
    await desk.ask("tool", "classify", "desk", "add", "admin")
    assert [each["tool"] for each in records(log, "tool.pinned")] == ["add"]
    assert [each["class"] for each in records(log, "tool.classified")] == ["admin"]
    # Where a pin cannot be given, for whatever reason, none is written down.
    (desk.state / FILE_NAME).chmod(0o644)
    for words in (["pin", "desk", "drop", "--yes"], ["classify", "desk", "add", "read"]):
        assert (await desk.do("tool", *words)).exit_code == 78
    assert len(records(log, "tool.pinned")) == len(records(log, "tool.classified")) == 1


async def test_what_cannot_be_written_down_is_not_pinned(desk: Desk) -> None:
    await desk.ask("tool", "pin", "desk", "add", "--yes")
    (desk.state / "audit").chmod(0o777)
    for words in (["pin", "desk", "drop", "--yes"], ["classify", "desk", "add", "read"]):
        assert "MT2321" in (await desk.do("tool", *words)).stderr
    assert desk.classes() == {"add": "write"}


async def test_a_class_given_to_a_tool_that_changed_approves_nothing(desk: Desk) -> None:
    """P13: the daemon saw it change, and it stays so for the daemon, its next start and here."""
    await desk.ask("tool", "pin", "desk", "--all", "--yes")
    daemon = Catalog(Pins(desk.state), ["desk"])
    found = Listing()
    found.items[Kind.TOOL, "add"] = item(EVIL)
    daemon.learn("desk", found)
    await desk.ask("tool", "classify", "desk", "add", "admin")
    assert daemon.refresh_pins()
    for each in (daemon, Catalog(Pins(desk.state), ["desk"])):
        assert each.callable("desk", "add") is None
    assert await states(desk) == {"add": "changed", "drop": "pinned"}
    await desk.ask("tool", "pin", "desk", "--all", "--yes")
    assert await states(desk) == {"add": "pinned", "drop": "pinned"}


async def test_commands_leave_it_to_the_daemon_to_write_what_changed(desk: Desk) -> None:
    await desk.ask("tool", "pin", "desk", "--all", "--yes")
    desk.server.tools = [EVIL, DROP]
    assert (await states(desk))["add"] == "changed"
    assert not (desk.state / MARKS_FILE).exists()


async def test_what_is_held_back_is_shown_and_can_be_pinned(desk: Desk) -> None:
    """P17."""
    desk.server.prompts = [{"name": "p", "description": "x\u200by"}]
    desk.server.instructions = "Be kind.\x1b[8m"
    shown = await desk.do("tool", "list")
    assert "held back: prompts 'p'" in shown.stdout
    assert "held back: instructions 'instructions'" in shown.stdout
    assert "\u200b" not in shown.stdout
    pinned = await desk.ask("tool", "pin", "desk", "--held-back", "--yes")
    assert {one["kind"] for one in pinned["pinned"]} == {"prompts", "instructions"}
    assert (await desk.ask("tool", "list"))["upstreams"]["desk"]["held_back"] == []


async def test_what_cannot_be_pinned_is_refused(desk: Desk) -> None:
    """P02, P15."""
    desk.server.tools = [{"name": "\uff41dd"}]
    bad = await desk.do("tool", "pin", "desk", "--all", "--yes")
    assert (bad.exit_code, bad.stderr[:8]) == (1, "MT2543: ")
    desk.server.tools = [ADD, EVIL]
    twice = await desk.do("tool", "pin", "desk", "add", "--yes")
    assert "twice" in twice.stderr
    assert read_pins(desk.state) == {}


async def test_what_shows_a_credential_is_not_pinned(desk: Desk) -> None:
    """C13: neither by name nor with all the others."""
    desk.server.tools = [ADD | {"description": MASK.decode()}, DROP]
    desk.server.instructions = f"Use {MASK.decode()}."
    assert await states(desk) == {"add": "credential", "drop": "new"}
    for words in (["add", "--yes"], ["--held-back", "--yes"]):
        bad = await desk.do("tool", "pin", "desk", *words)
        assert bad.exit_code == 1
        assert "MT2620: " in bad.stderr
    await desk.ask("tool", "pin", "desk", "--all", "--yes")
    assert set(desk.classes()) == {"drop"}


async def test_words_that_do_not_go_together_are_a_matter_of_usage(desk: Desk) -> None:
    for words in (["desk", "--yes"], ["desk", "add", "--all"], ["desk", "add", "--json"]):
        assert (await desk.do("tool", "pin", *words)).exit_code == 2
    missing = await desk.do("tool", "pin", "desk", "nothing", "--yes")
    assert missing.stderr.startswith("MT2542: ")
    assert (await desk.do("tool", "list", "nobody")).stderr.startswith("MT2401: ")
    assert (await desk.do("tool", "classify", "nobody", "a", "read")).exit_code == 1


async def test_a_server_that_is_down_is_no_reason_not_to_list_the_rest(desk: Desk) -> None:
    await desk.ask("tool", "pin", "desk", "--all", "--yes")
    desk.write(desk.server.url, f'[[upstream]]\nname = "off"\nurl = "{DOWN}"\npinning = "off"\n')
    shown = await desk.do("tool", "list")
    assert "desk: 2 pinned\n" in shown.stdout
    assert "off: no tools, PINNING IS OFF\n" in shown.stdout
    assert "not listed now (MT2540)" in shown.stdout
    assert (await desk.do("tool", "pin", "off", "--all", "--yes")).exit_code == 69


@pytest.mark.parametrize("name", [FILE_NAME, MARKS_FILE])
async def test_broken_pins_stop_every_command_and_the_daemon(desk: Desk, name: str) -> None:
    desk.state.mkdir(0o700)
    pins = desk.state / name
    pins.write_text("{}")
    pins.chmod(0o600)
    for words in (["tool", "list"], ["tool", "pin", "desk", "--all", "--yes"]):
        refused = await desk.do(*words)
        assert (refused.exit_code, refused.stderr[:8]) == (78, "MT2541: ")
    assert "MT2541" in (await desk.do("check-config")).stderr
    identity = Identity.create(desk.state)
    with StateLock(desk.state):
        identity.save()
    assert (await desk.do("policy", "init")).exit_code == 0
    # One that runs hears signals: it needs a main thread of its own.
    program = Path(sys.executable).with_name("tunnel-client")
    ran = await anyio.run_process([program, "run", "--config", desk.config], check=False)
    assert ran.stderr.startswith(b"MT2541: ")
    assert pins.read_text() == "{}"


async def test_what_the_daemon_saw_change_counts_here_too(desk: Desk) -> None:
    """P14: the command is shown the pinned definition, an agent was shown another."""
    await desk.ask("tool", "pin", "desk", "--all", "--yes")
    seen = {"tools": {"desk": {"changed_tools": ["add"]}}}
    async with ControlServer(
        desk.state / SOCKET_FILE, lambda: seen, lambda kind, facts, told: told(None)
    ):
        assert await states(desk) == {"add": "changed", "drop": "pinned"}
        before = read_pins(desk.state)["desk", Kind.TOOL, "add"]
        await desk.ask("tool", "pin", "desk", "--all", "--yes")
        assert read_pins(desk.state)["desk", Kind.TOOL, "add"].pinned > before.pinned


# Adding an upstream -----------------------------------------------------------------------------


async def test_adding_an_upstream_pins_its_tools_as_proposed(tmp_path: Path) -> None:
    config = tmp_path / "client.toml"
    config.write_text(HEAD)
    words: list[str | Path] = ["upstream", "add", "tickets", "--config", config, "--yes", "--json"]
    async with ticket_desk() as url:
        result = await asyncio.to_thread(call, *words, "--url", url)
    assert result.exit_code == 0, result.output
    pinned = json.loads(result.stdout)["pinned"]
    assert {one["name"]: one["class"] for one in pinned} == {
        "list_tickets": "read",
        "open_ticket": "write",
        "export_tickets": "external_send",
    }
    assert "list_tickets" in result.stderr


async def test_an_upstream_that_is_down_is_added_and_pinned_later(tmp_path: Path) -> None:
    config = tmp_path / "client.toml"
    config.write_text(HEAD)
    words: list[str | Path] = ["upstream", "add", "x", "--config", config, "--url", DOWN]
    result = await asyncio.to_thread(call, *words, "--yes")
    assert result.exit_code == 0
    assert "tunnel-client tool pin x" in result.stderr
    assert read_pins(tmp_path / "state") == {}
    config.write_text(HEAD)
    assert "tool pin x" in (await asyncio.to_thread(call, *words, "--no-pin")).stdout


def at_a_terminal(config: Path, url: str, answer: bytes, **environ: str) -> str:
    """Add an upstream in a terminal and answer the question."""
    words = ["upstream", "add", "desk", "--url", url, "--config", str(config)]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "tunnel_client.cli", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | environ,
    ) as adding:
        os.close(theirs)
        text = b""
        asked = False
        while True:
            try:
                text += os.read(ours, 65536)
            except OSError:
                break
            if b"[n] later" in text and not asked:
                asked = True
                os.write(ours, answer)
        assert adding.wait(60) == 0, text
    os.close(ours)
    return text.decode()


@pytest.mark.parametrize(
    ("answer", "classes"),
    [
        (b"\n", {"add": "write", "drop": "admin"}),
        (b"n\n", {}),
        (b"e\n", {"add": "read"}),
    ],
)
async def test_one_question_is_asked_at_a_terminal(
    desk: Desk, answer: bytes, classes: dict[str, str]
) -> None:
    desk.config.write_text(HEAD)
    desk.server.tools = [ADD, DROP, {"name": "b\u0430d"}]
    editor = desk.config.with_name("editor")
    editor.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[1], 'w').write('read add')\n")
    editor.chmod(0o755)
    text = await asyncio.to_thread(
        at_a_terminal, desk.config, desk.server.url, answer, EDITOR=str(editor)
    )
    assert "desk lists 2 definitions; proposed:" in text
    assert r"cannot be pinned: 'b\u0430d'" in text
    assert desk.classes() == classes
