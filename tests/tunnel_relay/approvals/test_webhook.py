"""Announcements reach whom they are for, signed, and never hold anything up."""

import asyncio
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog.testing
from pydantic import SecretStr

from shared.backoff import Backoff
from shared.configfile import SecretRef
from tests.helpers.tls import Authority
from tests.integration.scene import eventually
from tests.tunnel_relay.approvals.scene import an_office
from tests.tunnel_relay.approvals.test_decide import ASKED
from tunnel_relay.approvals.webhook import MAX_WAITING, SIGNATURE, Webhook
from tunnel_relay.settings_approvals import ApprovalSettings
from tunnel_relay.store.approvals import Approval, Texts

SECRET = SecretStr("a secret of the two")
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
TEXTS = Texts('{"arguments":{"to":"kept-to-itself"}}', None)
LATE = replace(ASKED, expires=1e12)


@dataclass
class Receiver:
    """A webhook over real TLS at localhost."""

    url: str = ""
    ca_file: Path = Path("/nowhere")
    answers: list[bytes] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def settings(self, **more: Any) -> ApprovalSettings:
        given: dict[str, Any] = {"webhook": self.url, "webhook_secret": SecretRef("env", "X")}
        given |= {"webhook_hosts": ("localhost",), "webhook_ca_file": self.ca_file}
        return ApprovalSettings(**given | more)


@asynccontextmanager
async def receiving(folder: Path, *answers: bytes) -> AsyncIterator[Receiver]:
    authority = Authority()
    got = Receiver(ca_file=authority.write(folder / "ca.pem"), answers=list(answers))
    server = await receiver_at(got, authority.server("localhost"))
    got.url = f"https://localhost:{server.sockets[0].getsockname()[1]}/hook?a=1"
    try:
        yield got
    finally:
        server.close()


async def receiver_at(got: Receiver, context: ssl.SSLContext) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        got.heads.append(head)
        length = int(head.partition("Content-Length: ")[2].partition("\r")[0])
        got.bodies.append(await reader.readexactly(length))
        writer.write(got.answers.pop(0) if got.answers else OK)
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)


@asynccontextmanager
async def running(
    settings: ApprovalSettings, clock: Callable[[], float] | None = None
) -> AsyncIterator[Webhook]:
    more: dict[str, Any] = {} if clock is None else {"clock": clock}
    hook = Webhook(settings, SECRET, "https://console", pace=Backoff(0.001, 0.001), **more)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hook.run)
        yield hook
        tasks.cancel_scope.cancel()


async def test_a_request_is_announced_and_signed(tmp_path: Path) -> None:
    async with receiving(tmp_path) as got, an_office(tmp_path) as office:
        async with running(got.settings()) as hook:
            office.admin.approvals.announce = hook.announce
            asked = await office.ask()
            await eventually(lambda: got.bodies)
        said = json.loads(got.bodies[0])
        assert said["id"] == asked.id
        assert (said["user"], said["tool"], said["class"]) == ("uma", "send", "external_send")
        assert said["url"] == f"https://console/approvals/{asked.id}"
        assert b"a@example.com" not in got.bodies[0]
        head = got.heads[0]
        assert head.startswith("POST /hook?a=1 HTTP/1.1\r\n")
        signature = head.partition(f"{SIGNATURE}: ")[2].partition("\r")[0]
        at, _, made = signature.removeprefix("t=").partition(",v1=")
        key = SECRET.get_secret_value().encode()
        message = at.encode() + b"." + got.bodies[0]
        assert hmac.new(key, message, "sha256").hexdigest() == made


async def test_arguments_go_along_only_where_the_operator_says_so(tmp_path: Path) -> None:
    async with receiving(tmp_path) as got:
        async with running(got.settings(webhook_arguments=True)) as hook:
            hook.announce(LATE, TEXTS)
            await eventually(lambda: got.bodies)
        assert json.loads(got.bodies[0])["arguments"] == TEXTS.arguments


async def test_a_receiver_that_fails_is_tried_again(tmp_path: Path) -> None:
    failing = (b"HTTP/1.1 500 No\r\n\r\n", b"", b"nonsense\r\n\r\n", b"HTTP/1.1 429 Slow\r\n\r\n")
    async with receiving(tmp_path, *failing) as got:
        async with running(got.settings()) as hook:
            hook.announce(LATE, TEXTS)
            await eventually(lambda: len(got.bodies) == len(failing) + 1)
        assert len(set(got.bodies)) == 1


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 404 No\r\n\r\n", b"HTTP/1.1 302 Go\r\nLocation: https://x/\r\n\r\n"]
)
async def test_a_receiver_that_refuses_is_not(tmp_path: Path, answer: bytes) -> None:
    """R08: nor is a redirect followed."""
    with structlog.testing.capture_logs() as said:
        async with receiving(tmp_path, answer) as got, running(got.settings()) as hook:
            hook.announce(LATE, TEXTS)
            await eventually(lambda: any(each["event"] == "webhook_failed" for each in said))
        assert len(got.bodies) == 1
    (failed,) = [each for each in said if each["event"] == "webhook_failed"]
    assert (failed["code"], failed["attempts"]) == ("MT1128", 1)
    assert "kept-to-itself" not in str(said)
    assert SECRET.get_secret_value() not in str(said)


async def test_what_has_expired_is_not_announced_again_and_again(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as said:
        async with receiving(tmp_path, *[b""] * 9) as got:
            async with running(got.settings(), clock=lambda: 200.0) as hook:
                hook.announce(replace(ASKED, expires=200.0), TEXTS)
                await eventually(lambda: any(each["event"] == "webhook_failed" for each in said))
            assert len(got.bodies) == 1


async def test_a_host_inside_is_not_connected_to_unless_it_is_listed(tmp_path: Path) -> None:
    """R08: also one whose name says nothing of it."""
    with structlog.testing.capture_logs() as said:
        async with receiving(tmp_path) as got:
            settings = got.settings().model_copy(update={"webhook_hosts": ()})
            async with running(settings) as hook:
                hook.announce(LATE, TEXTS)
                await eventually(lambda: any(each["event"] == "webhook_failed" for each in said))
            assert got.heads == []
    (failed,) = [each for each in said if each["event"] == "webhook_failed"]
    assert failed["why"] == "not on the public Internet"


async def test_nothing_waits_for_a_receiver_and_what_is_too_much_is_dropped(
    tmp_path: Path,
) -> None:
    hook = Webhook(Receiver("https://hook.example/").settings(), SECRET, None)
    with structlog.testing.capture_logs() as said:
        for number in range(MAX_WAITING + 5):
            hook.announce(numbered(number), TEXTS)
    assert [each["event"] for each in said] == ["webhook_failed"] * 5
    assert SECRET.get_secret_value() not in repr(vars(hook))


def numbered(number: int) -> Approval:
    return replace(LATE, id=f"{number:032}")
