"""Turns a one-time join code into a key the relay knows, and writes the configuration.

In this order, so that a code is only spent when its result can be kept:

1. take the state folder and refuse to replace an enrolment unless told to;
2. make the key, and write every file's folder;
3. send the public key with the code, over TLS;
4. keep the key (0600), then write `client.toml` with the relay's key pinned, or that into the one
   that is there.
"""

import json
import os
import platform
import shlex
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
from pydantic import SecretStr

from shared.configfile import SecretRef
from shared.ids import JOIN_PREFIX, is_name, is_token
from shared.keys import BadKeyError, PrivateKey, decode_public, encode_public, key_fingerprint
from shared.version import VERSION
from tunnel_client.dial import DialTarget, dial, named, proxy_of_environment
from tunnel_client.enrolled_file import Enrolment, Way, Written, check_file, way_of, write_file
from tunnel_client.errors import (
    AlreadyEnrolledError,
    BadJoinCodeError,
    ConnectError,
    DialSettingsError,
    EnrolBusyError,
    EnrolRefusedError,
    JoinCodeRefusedError,
    StateWriteError,
)
from tunnel_client.http_once import OneExchange, write_post
from tunnel_client.identity import Identity, StateLock, refuse_enrolled
from tunnel_client.policy.start import write_default
from tunnel_client.relay_url import RelayUrl, is_loopback
from tunnel_client.settings import (
    POLICY_FILE,
    check_proxy,
    default_config,
    default_state_dir,
    read_secret,
)

ENROL_PATH = "/tunnel/enroll"
ENROL_SECONDS = 20.0
_LOOK_SECONDS = 5.0
_MAX_HOST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What the relay said, checked, and what was written."""

    tunnel: str
    relay_key: str
    file: Written | None = None


@dataclass(frozen=True, slots=True)
class EnrolPlan:
    """Where to enrol and where to keep the result.

    `proxy_auth` is the reference (`file:PATH`) to write down, its value is in `target`.
    """

    target: DialTarget
    config: Path
    state_dir: Path
    proxy_auth: str | None = None
    force: bool = False
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    def known(self, tunnel: str, relay_key: str) -> Enrolment:
        """Return what is known once the relay answered."""
        return Enrolment(self.target, tunnel, relay_key, self.state_dir, self.proxy_auth)


def plan_from(
    relay: str,
    *,
    config: Path,
    state_dir: Path | None,
    ca_file: Path | None,
    proxy: str | None,
    proxy_auth: str | None,
    force: bool,
    environ: Mapping[str, str],
) -> EnrolPlan:
    """Check what the command line said; raises DialSettingsError and SecretError.

    What it leaves open is as the configuration that is enrolled again says.
    """
    try:
        address = RelayUrl.parse(relay)
    except ValueError as error:
        raise DialSettingsError(str(error), _meant(relay)) from None
    way = way_of(config) if force else Way()
    if proxy in (None, "none", way.proxy):  # another proxy is never shown the login of this one
        proxy_auth = proxy_auth or way.proxy_auth
    proxy, ca_file = proxy or way.proxy, ca_file or way.ca_file
    try:
        if proxy is not None:
            check_proxy(proxy)
        reference = SecretRef.parse(proxy_auth) if proxy_auth is not None else None
    except ValueError as error:
        raise DialSettingsError(str(error), "tunnel-client enroll --help") from None
    auth = read_secret(reference, environ) if reference else None
    target = DialTarget(address, ca_file, proxy, auth)
    state_dir = state_dir or way.state_dir or default_state_dir(environ)
    return EnrolPlan(target, config, state_dir, proxy_auth, force, environ)


def _meant(relay: str) -> str:
    """Return the command with the URL that was probably meant."""
    try:
        parts = urlsplit(relay if "://" in relay else f"//{relay}")
        port = f":{parts.port}" if parts.port not in (None, 80, 443) else ""
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"tunnel-client enroll {RelayUrl.parse(f'wss://{host}{port}').origin}"
    except ValueError:
        return "tunnel-client enroll --help"


def check_code(text: str) -> SecretStr:
    """Check the shape of a pasted join code; raises BadJoinCodeError, which never repeats it."""
    code = text.strip()
    if not code.startswith(JOIN_PREFIX) or not is_token(code):
        raise BadJoinCodeError(f"a join code is {JOIN_PREFIX} and 43 characters")
    return SecretStr(code)


async def enroll(plan: EnrolPlan, code: SecretStr) -> Enrolled:
    """Enrol this client instance; raises a ClientError, before or after which nothing is half done.

    A code whose answer was lost on the way is spent: another one is needed.
    """
    with StateLock(plan.state_dir):
        check_room(plan)
        identity = Identity.create(plan.state_dir)
        enrolled = await _ask(plan.target, identity, code)
        identity.save()
        known = plan.known(enrolled.tunnel, enrolled.relay_key)
        written = write_file(plan.config, known, plan.environ)
        if not written.settings.policy.exists():
            write_default(written.settings.policy)
    return replace(enrolled, file=written)


def check_room(plan: EnrolPlan) -> None:
    """Refuse before the code is spent: an enrolment that exists, a folder that takes no file.

    And a file that is there and could not be used once it is enrolled again.
    """
    if not plan.force:
        refuse_enrolled(plan.state_dir)
        if plan.config.exists():
            again = "--force enrolls it again and keeps what else it says"
            raise AlreadyEnrolledError(f"{plan.config} exists; {again}")
    folder = plan.config.resolve().parent
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise StateWriteError(f"cannot make {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StateWriteError(f"cannot write to {folder}", "run it with sudo")
    # The relay's answer is not known yet: any name and any key stand for it.
    some = plan.known("tunnel", encode_public(PrivateKey.generate().public))
    check_file(plan.config, some, plan.environ)


def check_scheme(plan: EnrolPlan) -> None:
    """Refuse `ws://` where TLS is spoken, before the code is asked for; raises DialSettingsError.

    Else it would only be told that the relay hung up. Who is not there is told when it is asked.
    """
    relay = plan.target.relay
    if relay.secure or not _speaks_tls(relay):
        return
    meant = RelayUrl(True, relay.host, relay.port).origin
    raise DialSettingsError(
        f"{relay.authority} speaks TLS: use wss://", f"tunnel-client enroll {meant}"
    )


def _speaks_tls(relay: RelayUrl) -> bool:
    """Tell whether TLS is spoken there and not what a relay without it says: asked in this order.

    Such a relay would write down a greeting of TLS as one more malformed request of a stranger.
    What speaks TLS may answer too, with a page on what was sent to it.
    """
    context = ssl.create_default_context()
    # Nothing is sent over it: whether anybody speaks it at all is the question, not who.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    place = (relay.host, relay.port)
    question = f"GET /healthz HTTP/1.1\r\nHost: {relay.authority}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(place, timeout=_LOOK_SECONDS) as plain:
            plain.sendall(question.encode("ascii"))
            if _status_of(plain) == b"200":
                return False
        with (
            socket.create_connection(place, timeout=_LOOK_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=relay.host),
        ):
            return True
    except (OSError, ValueError):
        return False


def _status_of(plain: socket.socket) -> bytes:
    """Return the status of an HTTP answer; empty if none comes whole and in time."""
    line, first = len(b"HTTP/1.1 200"), b""
    try:
        while len(first) < line and (more := plain.recv(line - len(first))):
            first += more
    except OSError:
        return b""
    return first[9:] if first.startswith(b"HTTP/") else b""


async def _ask(target: DialTarget, identity: Identity, code: SecretStr) -> Enrolled:
    question = {
        "join_code": code.get_secret_value(),
        "public_key": encode_public(identity.key.public),
        "instance": identity.instance,
        "origin": target.relay.origin,
        "host": _host(),
    }
    request = write_post(ENROL_PATH, target.relay.authority, json.dumps(question).encode())
    try:
        with anyio.fail_after(ENROL_SECONDS):
            transport, exchange = await dial(target, lambda: OneExchange(request))
            try:
                status, body = await exchange.answer()
            except ConnectError as error:
                raise named(error, target.relay) from None
            finally:
                transport.abort()
    except TimeoutError:
        late = f"{target.relay.authority} did not answer within {ENROL_SECONDS:.0f} s"
        raise named(ConnectError(late), target.relay) from None
    return _judge(status, body, target.relay.authority)


def _judge(status: int, body: bytes, authority: str) -> Enrolled:
    if status == 401:
        raise JoinCodeRefusedError("the relay does not take this join code: wrong, used or expired")
    if status == 429:
        raise EnrolBusyError("the relay has had too many attempts")
    if status != 200:
        told = f"{authority} answered {status} to the enrolment"
        if status < 500 or status == 501:
            told += "; it may be no relay"
        raise EnrolRefusedError(told, "compare the URL with public_url of the relay")
    answer = _json_object(body)
    tunnel, relay_key = answer.get("tunnel"), answer.get("relay_key")
    if not isinstance(tunnel, str) or not isinstance(relay_key, str) or not is_name(tunnel):
        raise EnrolRefusedError("the relay's answer lacks a tunnel name or its key")
    try:
        decode_public(relay_key)
    except BadKeyError:
        raise EnrolRefusedError("the relay's answer holds no usable key") from None
    return Enrolled(tunnel, relay_key)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    return answer if isinstance(answer, dict) else {}


def _host() -> dict[str, str]:
    """What helps an admin to recognise this machine."""
    return {
        "name": platform.node()[:_MAX_HOST_TEXT],
        "platform": platform.system()[:_MAX_HOST_TEXT],
        "version": VERSION,
    }


def next_steps(plan: EnrolPlan, enrolled: Enrolled, environ: Mapping[str, str]) -> str:
    """Say what happened and what to type next, ready to paste."""
    fingerprint = key_fingerprint(decode_public(enrolled.relay_key))
    option = config_option(plan.config, environ)
    written = enrolled.file
    policy = written.settings.policy if written else plan.config.parent / POLICY_FILE
    return (
        f"Enrolled in tunnel {enrolled.tunnel}; relay key {fingerprint} is pinned.\n"
        f"{_wrote(plan, written)}"
        f"What agents may do is in {policy}; read it.\n"
        f"{_borrowed_proxy(plan)}"
        f"{_next(written, option)}"
        f"  tunnel-client run{option}"
    )


def _wrote(plan: EnrolPlan, written: Written | None) -> str:
    """Say what became of the file, and what of it was not kept."""
    key = f"the key in {plan.state_dir}.\n"
    if written is None or not written.again:
        return f"Wrote {plan.config} and {key}"
    if written.before is None:
        return f"Wrote {key}{plan.config} said all of that already and stays as it was.\n"
    text = f"Changed {plan.config} and wrote {key}All else in the file stays as it was; "
    text += f"the old one is {written.before}.\n"
    if written.left_out:
        addresses = ", ".join(written.left_out)
        text += f"relay.url is {plan.target.relay.origin} now; not kept: {addresses}\n"
    return text


def _next(written: Written | None, option: str) -> str:
    names = [each.name for each in written.settings.upstream] if written else []
    if names:
        return f"It offers {', '.join(names)}, as before. Next, run:\n"
    add = f"tunnel-client upstream add{option} NAME --url http://127.0.0.1:3000/mcp"
    return f"Next, name a private MCP server and run:\n  {add}\n"


def _borrowed_proxy(plan: EnrolPlan) -> str:
    """Say that a proxy was found in the environment, which is not everybody's; never its login."""
    relay = plan.target.relay
    if plan.target.proxy is not None or is_loopback(relay.host) or not proxy_of_environment(relay):
        return ""
    return (
        "This went through the proxy of HTTPS_PROXY. A service does not have that: it needs\n"
        f"relay.proxy in {plan.config}, and relay.proxy_auth for a login.\n"
    )


def config_option(config: Path, environ: Mapping[str, str]) -> str:
    """Return the `--config` a pasted command needs, or nothing."""
    if config.absolute() == default_config(environ).absolute():
        return ""
    return f" --config {shlex.quote(str(config))}"
