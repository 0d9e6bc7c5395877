"""Start our own relay and client, as their users do: through their public commands only."""

import contextlib
import functools
import json
import os
import secrets
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.base import HOST, Peer, Target
from bench.fake_mcp import TOOLS
from bench.needs import OPENSSL, MissingError
from bench.procs import Group, free_port, wait_port
from bench.upstreams import MODULE_PATH, Upstream

BIN = Path(sys.executable).parent
RELAY = str(BIN / "tunnel-relay")
CLIENT = str(BIN / "tunnel-client")
TUNNEL = "bench"
LINK_SECONDS = 30.0
ALLOW_ALL = """\
version: 1
rules:
  - id: everything
    match: {method: "*"}
    effect: allow
"""
# Idle links are of enrolled clients, and there are many.
# One session makes the whole load: its limits are counted as ever, but out of reach.
OUT_OF_REACH = {
    f"TUNNEL_RELAY_LIMITS__{name}": "1000000000"
    for name in (
        *("ENROLMENTS_PER_MINUTE", "SESSION_CALLS_PER_SECOND", "SESSION_STREAMS"),
        *("USER_CALLS_PER_SECOND", "USER_STREAMS"),
        *("SESSION_BODY_BYTES", "USER_BODY_BYTES"),
    )
}


def tunnel(group: Group, upstream: Upstream) -> Peer:
    """TLS on the link, which has a port of its own; agents call as they would beside ssh -R.

    As it is delivered: every tool is pinned, and both ends judge by the policies they begin with.
    """
    return _start(group, upstream, "links")


def tunnel_unpinned(group: Group, upstream: Upstream) -> Peer:
    """As `tunnel`, but nothing is pinned and the client's policy has one rule: all is allowed."""
    return _start(group, upstream, "links", pinned=False)


def tunnel_tls(group: Group, upstream: Upstream) -> Peer:
    """One port with TLS for agents and links alike, the default."""
    return _start(group, upstream, "all")


def tunnel_plain(group: Group, upstream: Upstream) -> Peer:
    """No TLS at all, which both programs allow on loopback only."""
    return _start(group, upstream, "none")


def tunnel_with(group: Group, upstream: Upstream, audited: Sequence[str], changing: str) -> Peer:
    """As `tunnel`, with a log at some ends only (`relay`, `client`), and all tools allowed.

    Those of the upstream `changing` are pinned as writers.
    """
    return _start(group, upstream, "links", audited=audited, changing=changing)


def tunnel_unchecked(group: Group, upstream: Upstream) -> Peer:
    """As `tunnel`, but the relay remembers its verdict on a session; see `bench.unchecked`."""
    return _start(group, upstream, "links", serve=(sys.executable, "-m", "bench.unchecked"))


def tunnel_credential(group: Group, upstream: Upstream) -> Peer:
    """As `tunnel`, with a credential for the upstream: injected, and searched for in answers."""
    return _start(group, upstream, "links", _credential(group))


def tunnel_deciding(group: Group, upstream: Upstream, *, pinned: bool, credential: bool) -> Peer:
    """As `tunnel` or `tunnel_unpinned`, with a credential or without; no log at either end."""
    words = _credential(group) if credential else ()
    return _start(group, upstream, "links", words, pinned=pinned, audited=())


def _credential(group: Group) -> list[str]:
    secret = group.folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(secrets.token_urlsafe(30))
    return ["--credential", "bearer", "--credential-set", f"value=file:{secret}"]


def _start(
    group: Group,
    upstream: Upstream,
    encrypt: str,
    credential: Sequence[str] = (),
    *,
    pinned: bool = True,
    audited: Sequence[str] = ("relay", "client"),
    changing: str | None = None,
    serve: Sequence[str] = (RELAY,),
) -> Peer:
    """`encrypt` says what TLS covers: links, all or none."""
    _check_programs()
    folder, port = group.folder, free_port()
    relay_config, client_config = folder / "relay/relay.toml", folder / "client/client.toml"
    certificate = _certificate(folder) if encrypt != "none" else None
    # 1. a relay with fresh keys, and where it listens
    origin = agents = f"{'https' if encrypt == 'all' else 'http'}://{HOST}:{port}"
    _init_relay(relay_config, origin, port, certificate if encrypt == "all" else None)
    if encrypt == "links" and certificate is not None:
        origin = _add_links_port(relay_config, agents, certificate)
    environment = {**OUT_OF_REACH, "TUNNEL_RELAY_AUDIT__ON": _flag("relay" in audited)}
    argv = [*serve, "serve", "--config", str(relay_config)]
    relay_pid = group.start("relay", argv, {**environment, **MODULE_PATH})
    wait_port(port, group)
    # 2. a tunnel, and a client that joins it with the code
    made = _ask([RELAY, "tunnel", "create", TUNNEL, "--owner", "bench"], relay_config)
    code = folder / "join-code"
    code.touch(mode=0o600)
    code.write_text(made["join_code"] + "\n")
    _enroll(client_config, origin, code, certificate)
    add = _add_pinned if pinned else _add_unpinned
    for name in upstream.paths:
        add(client_config, [name, "--url", upstream.url(name), *credential])
    if changing is not None:
        _classify(client_config, changing, "write")
        client_config.with_name("policy.yaml").write_text(ALLOW_ALL)
    environment = {"TUNNEL_CLIENT_AUDIT__ON": _flag("client" in audited)}
    group.start("client", [CLIENT, "run", "--config", str(client_config)], environment)
    # 3. one session for each upstream, as a session is for one
    tls = None
    if encrypt == "all":
        tls = ssl.create_default_context(cafile=str(certificate))
    targets = {}
    for name in upstream.paths:
        argv = [RELAY, "session", "create", "--user", "bench", "--agent", "bench"]
        granted = _ask([*argv, "--server", f"{TUNNEL}/{name}", "--ttl", "2h"], relay_config)
        headers = {"Authorization": f"Bearer {granted['token']}"}
        targets[name] = Target(port, f"/t/{TUNNEL}/{name}/mcp", headers, tls)
    _wait_link(group, relay_config, set(upstream.paths))
    links = functools.partial(_open_links, relay_config.parent, origin, certificate)
    return Peer(group, targets, (relay_pid,), (CLIENT, "--help"), links)


def _add_pinned(config: Path, words: Sequence[str]) -> None:
    """Add an upstream and pin its tools as readers: so the policy of a new client allows them."""
    at = ["--config", str(config)]
    _run([CLIENT, "upstream", "add", *words, "--yes", *at])
    _classify(config, words[0], "read")


def _classify(config: Path, upstream: str, tool_class: str) -> None:
    for tool in TOOLS:
        words = [upstream, str(tool["name"]), tool_class, "--config", str(config)]
        _run([CLIENT, "tool", "classify", *words])


def _flag(on: bool) -> str:
    return "true" if on else "false"


def _add_unpinned(config: Path, words: Sequence[str]) -> None:
    """Add an upstream whose tools nobody has to approve."""
    _run([CLIENT, "upstream", "add", *words, "--no-pin", "--config", str(config)])
    url = f"url = {json.dumps(words[2])}\n"
    config.write_text(config.read_text().replace(url, f'{url}pinning = "off"\n'))
    config.with_name("policy.yaml").write_text(ALLOW_ALL)


@contextlib.contextmanager
def _open_links(relay: Path, origin: str, certificate: Path | None, count: int) -> Iterator[None]:
    """Hold idle links of freshly enrolled clients; RuntimeError when they do not come up."""
    spec: dict[str, Any] = {
        "relay": "ws" + origin.removeprefix("http"),
        "ca_file": str(certificate) if certificate else None,
        "socket": str(relay / "state/control.sock"),
        "tunnel": TUNNEL,
        "folder": tempfile.mkdtemp(prefix="links-", dir=relay),
        "count": count,
    }
    log = Path(spec["folder"], "log")
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "bench.many_links"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **MODULE_PATH},
            start_new_session=True,
        ) as holder,
    ):
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            holder.stdin.write(json.dumps(spec) + "\n")
            holder.stdin.flush()
            # Each wait in there has a deadline, so this line comes, or the end of the output.
            if holder.stdout.readline() != "READY\n":
                raise RuntimeError(f"no links: {log.read_text()[-300:]}")
            yield
        finally:
            holder.kill()


def _check_programs() -> None:
    for program in (RELAY, CLIENT):
        try:
            subprocess.run([program, "--help"], check=True, capture_output=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            raise MissingError(f"{Path(program).name}: the programs are not there yet") from None


def _init_relay(config: Path, origin: str, port: int, certificate: Path | None) -> None:
    config.parent.mkdir()
    argv = [RELAY, "init", "--config", str(config), "--public-url", origin]
    argv += ["--state-dir", str(config.parent / "state"), "--listen", f"{HOST}:{port}"]
    argv += ["--admin-listen", "none"]
    if certificate is not None:
        key = certificate.with_name("key.pem")
        argv += ["--tls-cert", str(certificate), "--tls-key", str(key)]
    _run(argv)


def _add_links_port(config: Path, agents: str, certificate: Path) -> str:
    """Give links a port with TLS; returns the origin that clients dial."""
    port = free_port()
    origin = f"https://{HOST}:{port}"
    lines = config.read_text().splitlines()
    lines = [line for line in lines if not line.startswith("public_url")]
    lines.insert(0, f"public_url = {json.dumps([agents, origin])}")
    lines += ["[links]", f"host = {json.dumps(HOST)}", f"port = {port}", "[links.tls]"]
    lines.append(f"cert_file = {json.dumps(str(certificate))}")
    lines.append(f"key_file = {json.dumps(str(certificate.with_name('key.pem')))}")
    config.write_text("\n".join(lines) + "\n")
    return origin


def _enroll(config: Path, origin: str, code: Path, certificate: Path | None) -> None:
    config.parent.mkdir(mode=0o700)
    argv = [CLIENT, "enroll", "ws" + origin.removeprefix("http"), "--config", str(config)]
    argv += ["--state-dir", str(config.parent / "state"), "--join-code-file", str(code)]
    if certificate is not None:
        argv += ["--ca-file", str(certificate)]
    _run(argv)


def _wait_link(group: Group, config: Path, upstreams: set[str]) -> None:
    """Wait until the relay knows the upstreams by a link; RuntimeError when it never does."""
    end = time.monotonic() + LINK_SECONDS
    while time.monotonic() < end:
        shown = _ask([RELAY, "tunnel", "show", TUNNEL], config)["tunnel"]
        if upstreams <= set(shown["upstreams"]):
            return
        if told := group.ended():
            raise RuntimeError("; ".join(told))
        time.sleep(0.2)
    raise RuntimeError(f"no link after {LINK_SECONDS:g} s")


def _certificate(folder: Path) -> Path:
    """A certificate for loopback that is its own authority, and its key beside it."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    argv = [OPENSSL.path(), "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=bench"]
    argv += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    argv += ["-addext", f"subjectAltName=IP:{HOST}"]
    argv += ["-keyout", str(key), "-out", str(certificate)]
    _run(argv)
    return certificate


def _run(argv: list[str]) -> str:
    """Run a command to its end; RuntimeError with what it complained about."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        words = " ".join(argv[:3])
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout


def _ask(argv: list[str], config: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_run([*argv, "--json", "--config", str(config)]))
    return answer
