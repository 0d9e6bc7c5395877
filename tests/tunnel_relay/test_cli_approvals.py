"""`tunnel-relay approval`: from any machine as a user, and here as the operator."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
import structlog
from click.testing import CliRunner, Result

from shared.keys import decode_public, key_fingerprint
from shared.permit import check_keys
from tests.tunnel_relay.admin.test_approvals import people_beside
from tests.tunnel_relay.approvals.scene import PARAMS, Office, an_office, with_session
from tests.tunnel_relay.console.stage import a_console
from tunnel_relay.approvals.signatures import signed
from tunnel_relay.cli import build
from tunnel_relay.store.approvals import State


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command that runs here, in this process, changes what is logged."""
    yield
    structlog.reset_defaults()


def command(*words: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(build(), ["approval", *words], env=env)


@dataclass
class Far:
    """A relay that is reached over its admin API only."""

    office: Office
    env: Callable[[str], Any]

    async def run(self, who: str, *words: str) -> Result:
        env = await self.env(who)
        return await anyio.to_thread.run_sync(
            partial(command, *words, "--token", "env:MY_TOKEN", env=env)
        )


@asynccontextmanager
async def far(folder: Path) -> AsyncIterator[Far]:
    async with a_console(folder) as stage:
        await people_beside(stage.admin)

        async def env(who: str) -> dict[str, str]:
            return {"MY_TOKEN": await stage.token(who), "TUNNEL_RELAY_API": stage.url}

        yield Far(await with_session(stage.admin), env)


def key_of(folder: Path, name: str) -> tuple[str, str]:
    """Make a key by the command; returns its file and public half."""
    file = folder / name
    made = command("keygen", str(file))
    assert made.exit_code == 0, made.output
    assert file.stat().st_mode & 0o777 == 0o600
    assert command("keygen", str(file)).exit_code == 1
    public = made.output.splitlines()[0]
    assert f"  YOUR-NAME: {public}" in made.output
    assert file.read_text() not in made.output
    return str(file), public


async def test_a_request_is_listed_shown_and_approved_from_afar(tmp_path: Path) -> None:
    async with far(tmp_path) as relay:
        asked = await relay.office.ask()
        listed = await relay.run("pia", "list")
        assert asked.id[:12] in listed.output
        shown = await relay.run("pia", "show", asked.id[:8])
        assert '"to": "a@example.com"' in shown.output
        assert asked.arguments in shown.output
        as_json = json.loads((await relay.run("pia", "list", "--json")).output)
        assert as_json["approvals"][0]["id"] == asked.id
        done = await relay.run("pia", "approve", asked.id[:8], "--yes", "--reason", "fine")
        assert done.exit_code == 0, done.output
        assert "is approved (1 of 1 approvals); signed by the relay, on your word" in done.output
        assert (await relay.run("pia", "list")).output == "nothing waits for an approval\n"
        denied = await relay.run("pia", "deny", asked.id[:8], "--reason", "no more")
        assert "is denied" in denied.output
        every = await relay.run("pia", "list", "--all")
        assert "denied" in every.output


def test_a_variable_that_is_not_set_is_of_the_shell_that_gives_the_command() -> None:
    words = ("list", "--api", "https://relay.example.com", "--token", "env:NOPE")
    refused = command(*words).stderr
    assert refused.startswith("MT1061: --token: ")
    assert "next:  set that variable" in refused


async def test_a_list_that_is_cut_says_so(tmp_path: Path) -> None:
    async with far(tmp_path) as relay:
        asked = [await relay.office.ask(tool=f"send{number}") for number in range(3)]
        cut = await relay.run("pia", "list", "--limit", "2")
        assert "send1" in cut.output
        assert "send2" not in cut.output
        assert "may be more than these 2: --limit shows more" in cut.stderr
        whole = await relay.run("pia", "list", "--limit", "3", "--json")
        assert [each["id"] for each in json.loads(whole.stdout)["approvals"]] == [
            each.id for each in asked
        ]
        assert whole.stderr == ""
        found = await relay.run("pia", "list", "--query", "SEND2")
        assert "send2" in found.output
        assert "send1" not in found.output


async def test_a_key_signs_here_what_it_was_shown(tmp_path: Path) -> None:
    file, public = key_of(tmp_path, "pia.key")
    async with far(tmp_path) as relay:
        asked = await relay.office.ask(keys=(key_fingerprint(decode_public(public)),))
        without = await relay.run("pia", "approve", asked.id, "--yes")
        assert (without.exit_code, "MT1125" in without.output) == (77, True)
        done = await relay.run("pia", "approve", asked.id, "--yes", "--key", file)
        assert done.exit_code == 0, done.output
        assert "signed by your key" in done.output
        assert '"to": "a@example.com"' in done.output
        taken = await relay.office.admin.approvals.take(relay.office.session.id, "send", PARAMS)
        assert taken.approval is not None
        check_keys(signed(taken.approval), [decode_public(public)], 1, b"")


def open_to_others(file: str) -> None:
    Path(file).chmod(0o644)


async def test_a_key_that_others_can_read_signs_nothing(tmp_path: Path) -> None:
    file, public = key_of(tmp_path, "pia.key")
    open_to_others(file)
    async with far(tmp_path) as relay:
        asked = await relay.office.ask(keys=(key_fingerprint(decode_public(public)),))
        refused = await relay.run("pia", "approve", asked.id, "--yes", "--key", file)
        assert "MT1003" in refused.output
        known = relay.office.admin.approvals.requests.get(asked.id)
        assert known is not None
        assert known.state is State.PENDING


async def test_without_a_yes_nothing_is_approved(tmp_path: Path) -> None:
    async with far(tmp_path) as relay:
        asked = await relay.office.ask()
        stopped = await relay.run("pia", "approve", asked.id)
        assert stopped.exit_code == 1
        known = relay.office.admin.approvals.requests.get(asked.id)
        assert known is not None
        assert known.state is State.PENDING


async def test_nobody_is_asked_for_a_yes_that_would_be_refused(tmp_path: Path) -> None:
    async with far(tmp_path) as relay:
        asked = await relay.office.ask()
        for who, code in (("uma", "MT1122"), ("eve", "MT1120"), ("otto", "MT1056")):
            refused = await relay.run(who, "approve", asked.id)
            assert (code in refused.output, "[y/N]" in refused.output) == (True, False)
        await relay.run("pia", "approve", asked.id, "--yes")
        again = await relay.run("paul", "approve", asked.id)
        assert (again.exit_code, "[y/N]" in again.output) == (1, False)
        assert "MT1123: it is approved already" in again.output


@pytest.mark.parametrize(
    ("who", "code"), [("uma", "MT1122"), ("eve", "MT1120"), ("otto", "MT1056")]
)
async def test_who_may_not_is_told_by_code(tmp_path: Path, who: str, code: str) -> None:
    """P24, P25."""
    async with far(tmp_path) as relay:
        asked = await relay.office.ask()
        refused = await relay.run(who, "approve", asked.id, "--yes")
        assert refused.exit_code != 0
        assert code in refused.output


async def test_the_operator_lists_and_denies_and_approves_nothing(tmp_path: Path) -> None:
    """P24."""
    async with an_office(tmp_path) as office:
        asked = await office.ask()
    here = ("--config", str(tmp_path / "relay.toml"))

    def work() -> None:
        assert asked.id[:12] in command("list", *here).output
        refused = command("approve", asked.id, "--yes", *here)
        assert (refused.exit_code, "MT1121" in refused.output) == (77, True)
        unasked = command("approve", asked.id, *here)
        assert (unasked.exit_code, "MT1121" in unasked.output) == (77, True)
        assert "[y/N]" not in unasked.output
        assert "is denied" in command("deny", asked.id, "--reason", "no", *here).output
        shown = json.loads(command("show", asked.id, "--json", *here).output)["approval"]
        assert (shown["state"], shown["decided_by"]) == ("denied", "operator")

    await anyio.to_thread.run_sync(work)


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--api", "https://relay.example.com"),
        ("list", "--token", "mta_secret"),
        ("approve", "x" * 32, "--key", "/nowhere", "--yes"),
    ],
)
def test_words_that_make_no_sense_are_refused(words: tuple[str, ...]) -> None:
    refused = command(*words)
    assert refused.exit_code != 0
    assert "mta_secret" not in refused.output
