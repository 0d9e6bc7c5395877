"""How to start everything that is compared, on loopback; one function a peer."""

import getpass
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import product
from bench.base import Peer, Target
from bench.needs import FASTMCP_PYTHON, SSH, SSH_KEYGEN, SSHD, SUPERGATEWAY_PROGRAM, MissingError
from bench.procs import Group, free_port, wait_port
from bench.upstreams import MODULE_PATH, Upstream, start_nginx, stdio_argv

Start = Callable[[Group, Upstream], Peer]


@dataclass(frozen=True, slots=True)
class Kind:
    """A peer's start function and which upstreams it can stand before."""

    start: Start
    upstreams: tuple[str, ...] = ("static", "mcp")
    # It speaks MCP itself (like ours), unlike a pipe that carries any bytes.
    mcp_aware: bool = False
    # It passes an upstream's SSE events and GET streams on.
    streams: bool = True
    # It has a public side with links of its own, and a program whose start counts.
    has_links: bool = False
    # Measured only when asked for.
    by_default: bool = True
    # What a reader of the tables should know.
    told: str = ""


def _same_paths(port: int, upstream: Upstream) -> dict[str, Target]:
    return {name: Target(port, path) for name, path in upstream.paths.items()}


def direct(_group: Group, upstream: Upstream) -> Peer:
    """Nothing in between: the floor for every latency, the ceiling for every rate."""
    return Peer(upstream.group, _same_paths(upstream.port, upstream))


def nginx_2hop(group: Group, upstream: Upstream) -> Peer:
    """Two reverse proxies in a row: the hops of a tunnel in C, without tunnel, TLS or sessions."""
    port = upstream.port
    for name in ("hop1", "hop2"):
        before, port = port, free_port()
        location = """\
    location / {
      proxy_pass http://next;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 1h;
    }"""
        extra = (
            f"  upstream next {{ server 127.0.0.1:{before}; keepalive 512; "
            "keepalive_requests 1000000000; }\n"
        )
        start_nginx(group, name, port, location, extra)
    return Peer(group, _same_paths(port, upstream))


SSHD_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding remote
LogLevel ERROR
"""


def ssh_r(group: Group, upstream: Upstream) -> Peer:
    """OpenSSH remote forward with its default cipher and keys made for this run."""
    sshd, ssh, keygen = SSHD.path(), SSH.path(), SSH_KEYGEN.path()
    folder, port, public = group.folder, free_port(), free_port()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd refuses to start without its chroot
    for name in ("host", "user"):
        argv = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(argv, check=True, timeout=30)
    config = folder / "sshd_config"
    config.write_text(SSHD_CONFIG.format(port=port, folder=folder))
    host_key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    group.start("sshd", [sshd, "-D", "-f", str(config)])
    wait_port(port, group)
    options = {
        "UserKnownHostsFile": folder / "known_hosts",
        "IdentitiesOnly": "yes",
        "ExitOnForwardFailure": "yes",
        "BatchMode": "yes",
        "LogLevel": "ERROR",
    }
    argv = [ssh, "-N", "-F", "none", "-p", str(port), "-i", str(folder / "user")]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    argv += [
        "-R",
        f"127.0.0.1:{public}:127.0.0.1:{upstream.port}",
        f"{getpass.getuser()}@127.0.0.1",
    ]
    group.start("ssh", argv)
    wait_port(public, group)
    return Peer(group, _same_paths(public, upstream))


def fastmcp_proxy(group: Group, upstream: Upstream) -> Peer:
    """FastMCP's proxy server before the upstream: Streamable HTTP, JSON answers, stateless."""
    port = free_port()
    front = Path(__file__).parent / "fastmcp_front.py"
    argv = [FASTMCP_PYTHON.path(), str(front), str(port), upstream.url("call")]
    group.start("fastmcp", argv)
    wait_port(port, group, 60)
    return Peer(group, {"call": Target(port, "/mcp")})


def supergateway(group: Group, _upstream: Upstream) -> Peer:
    """supergateway, stateful: the cheap MCP server over stdio, offered over Streamable HTTP."""
    program, port = SUPERGATEWAY_PROGRAM.path(), free_port()
    # The program looks for node on PATH by its first line.
    if shutil.which("node") is None:
        raise MissingError("node: apt-get install nodejs")
    argv = [program, "--stdio", shlex.join(stdio_argv()), "--outputTransport", "streamableHttp"]
    argv += ["--stateful", "--logLevel", "none", "--port", str(port)]
    preload = str(Path(__file__).parent / "loopback.cjs")
    group.start(
        "supergateway", argv, {**MODULE_PATH, "NODE_OPTIONS": f"--require {shlex.quote(preload)}"}
    )
    wait_port(port, group, 60)
    return Peer(group, {"call": Target(port, "/mcp")})


PEERS: dict[str, Kind] = {
    "direct": Kind(direct, told="no tunnel at all"),
    "nginx_2hop": Kind(nginx_2hop, told="two plain reverse proxies, no tunnel"),
    "ssh_r": Kind(ssh_r, told="OpenSSH `-R`, default cipher"),
    "tunnel": Kind(
        product.tunnel,
        has_links=True,
        told="this project as delivered: TLS on the link (a port of its own), sessions, strict "
        "parsing, tools pinned, policy at both ends",
    ),
    "tunnel_unpinned": Kind(
        product.tunnel_unpinned, has_links=True, told="the same without pins, and one rule: allow"
    ),
    "tunnel_tls": Kind(
        product.tunnel_tls, has_links=True, told="one port with TLS for agents and links"
    ),
    "tunnel_plain": Kind(
        product.tunnel_plain, has_links=True, told="the same without TLS, on loopback only"
    ),
    "tunnel_credential": Kind(
        product.tunnel_credential,
        has_links=True,
        by_default=False,
        told="as `tunnel`, the upstream is shown a credential and its answers are searched for it",
    ),
    "supergateway": Kind(
        supergateway,
        ("mcp",),
        mcp_aware=True,
        streams=False,
        told="stdio server over HTTP, no tunnel",
    ),
    "fastmcp_proxy": Kind(
        fastmcp_proxy,
        ("mcp",),
        mcp_aware=True,
        streams=False,
        told="FastMCP proxy over HTTP, no tunnel",
    ),
}
