"""A running relay takes commands from its own user, and only one process has the state."""

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.tunnel_relay.making import make_relay
from tunnel_relay.admin import reach
from tunnel_relay.admin.call import call_control
from tunnel_relay.admin.control import bind_control, serve_control
from tunnel_relay.admin.runtime import lock_state, open_admin
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_relay(tmp_path)


@contextmanager
def refused(code: Code, said: str = "") -> Iterator[None]:
    with pytest.raises(RelayError) as caught:
        yield
    assert caught.value.code is code
    assert said in caught.value.message


async def cannot_start(settings: Settings, code: Code) -> None:
    with refused(code):
        await open_admin(settings, serving=True).__aenter__()


async def test_one_database_has_one_relay_whatever_the_state_folder(tmp_path: Path) -> None:
    """Verdicts come from memory: each of two would serve what the other revoked."""
    settings, other = (make_relay(tmp_path / name) for name in ("one", "other"))
    async with open_admin(settings, serving=True):
        shared = other.model_copy(update={"database_file": settings.database})
        await cannot_start(shared, Code.STATE_IN_USE)
    async with open_admin(shared, serving=True):
        await cannot_start(settings, Code.STATE_IN_USE)


async def test_commands_reach_a_running_relay(settings: Settings) -> None:
    async with (
        open_admin(settings, serving=True) as admin,
        serve_control(admin, settings.control_socket),
    ):
        status = await anyio.Path(settings.control_socket).stat()
        assert stat.S_IMODE(status.st_mode) == 0o600
        made = await anyio.to_thread.run_sync(
            lambda: reach.run(settings, "tunnel_create", name="office", owner="alice")
        )
        assert made["join_code"].startswith("mtj_")
        assert [each["name"] for each in await admin.tunnel_list()] == ["office"]
        shown = await anyio.to_thread.run_sync(lambda: reach.run(settings, "status"))
        assert shown["serving"]
        with refused(Code.TUNNEL_UNKNOWN):
            await anyio.to_thread.run_sync(lambda: reach.run(settings, "tunnel_show", name="no"))
    assert not await anyio.Path(settings.control_socket).exists()


async def test_what_is_no_command_is_refused_and_the_relay_lives_on(settings: Settings) -> None:
    path = settings.control_socket
    async with open_admin(settings, serving=True) as admin, serve_control(admin, path):

        def ask(command: str, **arguments: Any) -> Any:
            return call_control(path, command, arguments)

        for command in ("nothing", "enroll", "..%2fx"):
            with pytest.raises(RelayError):
                await anyio.to_thread.run_sync(call_control, path, command, {})
        with refused(Code.BAD_REQUEST):
            await anyio.to_thread.run_sync(lambda: ask("tunnel_show", name="x" * 70_000))
        for body in (b"", b"[]", b"{", b"nonsense"):
            answer = await anyio.to_thread.run_sync(raw, path, body)
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "MT1025"
        assert (await anyio.to_thread.run_sync(lambda: ask("status")))["serving"]


def raw(path: Path, body: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        head = f"POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
        return answer


def test_without_a_relay_a_command_works_on_the_state_itself(settings: Settings) -> None:
    made = reach.run(settings, "tunnel_create", name="office", owner="alice")
    assert made["tunnel"]["name"] == "office"
    status = reach.run(settings, "status")
    assert (status["serving"], status["tunnels"]) == (False, 1)


def test_a_socket_left_behind_by_a_dead_relay_is_no_hindrance(settings: Settings) -> None:
    bind_control(settings.control_socket).close()
    assert settings.control_socket.exists()
    assert reach.run(settings, "status")["serving"] is False
    bind_control(settings.control_socket).close()


def test_a_relay_that_holds_the_state_but_does_not_answer_is_reported(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "START_PATIENCE", 0.1)
    with lock_state(settings.state_dir), refused(Code.RELAY_SILENT):
        reach.run(settings, "status")


def test_who_holds_the_state_and_does_not_answer_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "START_PATIENCE", 0.1)
    monkeypatch.setattr(reach, "LOOK_SECONDS", 0.1)
    said = f"process {os.getpid()} holds {settings.state_dir}"
    assert reach.look(settings) is None
    asks: list[Callable[[Settings], Any]] = [reach.look, lambda each: reach.run(each, "status")]
    with lock_state(settings.state_dir):
        for ask in asks:
            with refused(Code.RELAY_SILENT, said):
                ask(settings)
        listener = bind_control(settings.control_socket)
        for ask in asks:
            with refused(Code.RELAY_SILENT, said):
                ask(settings)
        listener.close()


def test_a_relay_that_hangs_and_whom_many_ask_is_silent_too(settings: Settings) -> None:
    """Nobody is accepted any more, and then nobody can even wait."""
    listener = bind_control(settings.control_socket)
    with ExitStack() as waiting:
        for _ in range(100):
            asking = waiting.enter_context(socket.socket(socket.AF_UNIX))
            asking.setblocking(False)
            try:
                asking.connect(str(settings.control_socket))
            except BlockingIOError:
                break
        with refused(Code.RELAY_SILENT):
            reach.run(settings, "status")
    listener.close()


async def test_look_tells_what_a_relay_says_of_itself(settings: Settings) -> None:
    async with (
        open_admin(settings, serving=True) as admin,
        serve_control(admin, settings.control_socket),
    ):
        found = await anyio.to_thread.run_sync(reach.look, settings)
    assert found is not None
    assert found["serving"]


def test_a_command_whose_answer_was_lost_is_not_given_twice(settings: Settings) -> None:
    """A listener takes the command and hangs up without an answer."""
    listener = bind_control(settings.control_socket)
    listener.setblocking(True)
    listener.settimeout(10)
    taken: list[bytes] = []

    def take() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            taken.append(connection.recv(65536))

    thread = threading.Thread(target=take)
    thread.start()
    with refused(Code.RELAY_SILENT):
        reach.run(settings, "tunnel_create", name="office", owner="alice")
    thread.join(10)
    listener.close()
    assert len(taken) == 1
    assert reach.run(settings, "tunnel_list") == []


async def test_the_state_has_one_owner_at_a_time(settings: Settings) -> None:
    async with open_admin(settings, serving=True):
        await cannot_start(settings, Code.STATE_IN_USE)
    async with open_admin(settings, serving=True):
        pass


async def test_a_relay_without_its_key_or_with_an_open_folder_does_not_start(
    settings: Settings,
) -> None:
    folder = anyio.Path(settings.state_dir)
    await folder.chmod(0o755)
    await cannot_start(settings, Code.FILE_UNSAFE)
    await folder.chmod(0o700)
    await anyio.Path(settings.relay_key).chmod(0o644)
    await cannot_start(settings, Code.FILE_UNSAFE)
    await anyio.Path(settings.relay_key).unlink()
    await cannot_start(settings, Code.KEY_UNUSABLE)
