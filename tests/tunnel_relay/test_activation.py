"""Sockets that a service manager opened: which listener gets which, and what is refused."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.tunnel import BIN
from tests.tunnel_relay.making import make_relay
from tunnel_relay.activation import assign, take_sockets
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.settings import AdminListen, LinksListen, Listen, Settings


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def opened(stack: ExitStack, host: str = "127.0.0.1") -> tuple[socket.socket, int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = stack.enter_context(socket.create_server((host, 0), family=family))
    return made, made.getsockname()[1]


def at(folder: Path, host: str, port: int, **more: object) -> Settings:
    made = make_relay(folder)
    return made.model_copy(update={"listen": Listen(host=host, port=port), "admin": None, **more})


def test_each_socket_goes_to_the_listener_of_its_address(tmp_path: Path, stack: ExitStack) -> None:
    (agents, one), (links, two), (admin, three) = (opened(stack) for _ in range(3))
    more = {"links": LinksListen(port=two), "admin": AdminListen(host="localhost", port=three)}
    settings = at(tmp_path, "127.0.0.1", one, **more)
    given = [("tunnel-relay.socket", each) for each in (admin, agents, links)]
    found = assign(settings, given)
    assert (found.agents, found.links, found.admin) == (agents, links, admin)
    assert not agents.getblocking()


def test_one_with_a_name_may_be_at_any_port_where_the_configuration_takes_any(
    tmp_path: Path, stack: ExitStack
) -> None:
    agents, _ = opened(stack)
    settings = at(tmp_path, "127.0.0.1", 0)
    assert assign(settings, [("agents", agents)]).agents is agents
    with pytest.raises(RelayError, match="no listener is left"):
        assign(settings, [("unknown", agents)])


def test_all_addresses_are_all_addresses_of_either_family(tmp_path: Path, stack: ExitStack) -> None:
    everywhere, port = opened(stack, "0.0.0.0")
    assert assign(at(tmp_path, "::", port), [("x", everywhere)]).agents is everywhere


@pytest.mark.parametrize("name", ["agents", "unknown"])
def test_plain_text_does_not_get_off_loopback_by_a_socket(
    tmp_path: Path, stack: ExitStack, name: str
) -> None:
    """Without [tls] the configuration says loopback; a socket of all addresses would undo that."""
    everywhere, port = opened(stack, "0.0.0.0")
    with pytest.raises(RelayError) as refused:
        assign(at(tmp_path, "127.0.0.1", port), [(name, everywhere)])
    assert refused.value.code is Code.SOCKET_UNWANTED


def test_two_for_one_listener_and_one_for_none_are_refused(
    tmp_path: Path, stack: ExitStack
) -> None:
    agents, port = opened(stack)
    twin = stack.enter_context(agents.dup())
    for given in ([("agents", agents), ("x", twin)], [("links", agents)], [("admin", agents)]):
        with pytest.raises(RelayError) as refused:
            assign(at(tmp_path / given[0][0], "127.0.0.1", port), given)
        assert refused.value.code is Code.SOCKET_UNWANTED


def test_what_does_not_listen_over_tcp_is_refused(tmp_path: Path, stack: ExitStack) -> None:
    idle, datagrams, local = (
        socket.socket(),
        socket.socket(type=socket.SOCK_DGRAM),
        *[socket.socket(socket.AF_UNIX)],
    )
    settings = at(tmp_path, "127.0.0.1", 0)
    for each in (idle, datagrams, local):
        with pytest.raises(RelayError) as refused, each:
            assign(settings, [("agents", each)])
        assert refused.value.code is Code.SOCKET_UNUSABLE


def test_variables_of_another_process_are_forgotten_and_not_believed(tmp_path: Path) -> None:
    environ = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "nonsense", "HOME": "/"}
    assert not take_sockets(at(tmp_path, "127.0.0.1", 0), environ)
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    ("count", "names"),
    [("", ""), ("-1", ""), ("17", ""), ("1", "a:b"), ("one", ""), ("9" * 99, "")],
)
def test_numbers_that_cannot_be_are_refused(tmp_path: Path, count: str, names: str) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count, "LISTEN_FDNAMES": names}
    with pytest.raises(RelayError) as refused:
        take_sockets(at(tmp_path, "127.0.0.1", 0), environ)
    assert refused.value.code is Code.SOCKET_UNUSABLE
    assert environ == {}


def test_a_relay_says_what_is_wrong_with_its_socket(tmp_path: Path) -> None:
    """Descriptor 3 is a file here."""
    make_relay(tmp_path)
    hand = (
        "import os, sys; os.dup2(0, 3, inheritable=True);"
        "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'};"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    serve = [str(BIN / "tunnel-relay"), "serve", "--config", str(tmp_path / "relay.toml")]
    done = subprocess.run(
        [sys.executable, "-c", hand, *serve],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 78
    assert "MT1250" in done.stderr
    assert "descriptor 3 is no socket" in done.stderr
