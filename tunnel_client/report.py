"""What this client adds to the relay's security report: what the relay is never told.

Facts about credentials, sandboxes and pins; never a value of a secret, an argument of a program, or
more of an address than its origin.
"""

import os
import stat
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shared.audit.keys import KEY_FILE as LOG_KEY
from shared.audit.keys import PUBLIC_FILE, TAGS_FILE
from shared.audit.private import AuditError
from shared.audit.verifying import verify_folder
from shared.escape import one_line
from shared.keys import BadKeyError, decode_public, key_fingerprint
from shared.version import VERSION
from tunnel_client.catalog.definitions import Kind
from tunnel_client.catalog.marks import FILE_NAME as MARKS_FILE
from tunnel_client.catalog.pins import FILE_NAME as PINS_FILE
from tunnel_client.catalog.pins import Table, read_pins
from tunnel_client.consent.guard import Guards
from tunnel_client.errors import ClientError
from tunnel_client.identity import KEY_FILE, Identity
from tunnel_client.policy.load import load_policy, read_policy_text
from tunnel_client.settings import ClientSettings, UpstreamSettings
from tunnel_client.upstreams import guards_of

KIND = "tunnel-client report"
MAX_TEXT = 1000
"""Characters of what went wrong; relays take no more."""

Facts = dict[str, Any]


def gather(settings: ClientSettings, environ: Mapping[str, str]) -> Facts:
    """Return this client's part; raises ClientError for a client that is not enrolled."""
    identity = Identity.read(settings.state_dir)
    guards, pins = guards_of(settings), read_pins(settings.state_dir)
    return {
        "kind": KIND,
        "version": VERSION,
        "made": time.time(),
        "tunnel": settings.relay.tunnel,
        "instance": identity.instance,
        "key": key_fingerprint(identity.key.public),
        "policy": _policy(settings.policy),
        "audit": _audit(settings),
        "files": _files(settings),
        "upstreams": [_upstream(each, environ, guards, pins) for each in settings.upstream],
    }


def _policy(path: Path) -> Facts:
    """Return the policy as it stands in its file: the report holds both ends' rules together."""
    try:
        text = read_policy_text(path)
        found = load_policy(path).policy
    except ClientError as error:
        return {"text": None, "digest": None, "problem": _short(f"{error.code}: {error.cause}")}
    return {"text": text, "digest": found.digest, "problem": None}


def _audit(settings: ClientSettings) -> Facts:
    rules = settings.audit
    facts: Facts = {"on": rules.on, "reads_without": rules.reads_without, "problem": None}
    if not rules.on:
        return facts
    folder = settings.audit_folder
    try:
        public = decode_public((folder / PUBLIC_FILE).read_text().strip())
        report = verify_folder(folder, public)
    except (AuditError, OSError, UnicodeDecodeError, BadKeyError) as error:
        said = str(error) if isinstance(error, AuditError) else type(error).__name__
        return {**facts, "problem": _short(f"the log cannot be read: {said}")}
    names = ("ok", "records", "signed", "unproven")
    first_bad, reason = report.fault or (None, None)
    found = {name: getattr(report, name) for name in names}
    found["reason"] = None if reason is None else _short(reason)
    return {**facts, **found, "first_bad": first_bad}


def _short(text: str) -> str:
    """Return the beginning of what may be a list of hundreds of faults, on one line."""
    return one_line(text, MAX_TEXT)


def _files(settings: ClientSettings) -> list[Facts]:
    """Return who else gets at what must be the client's alone."""
    state, log = settings.state_dir, settings.audit_folder
    secret = [
        ("state folder", state),
        ("client key", state / KEY_FILE),
        ("pins", state / PINS_FILE),
        ("tools that changed", state / MARKS_FILE),
        ("log folder", log),
        ("key of the log", log / LOG_KEY),
        ("key of the log's tags", state / TAGS_FILE),
        *((f"credential of {name}", path) for name, path in _secret_files(settings)),
    ]
    found = [_look(what, path, 0o077) for what, path in secret]
    found.append(_look("policy", settings.policy, 0o022))
    return [each for each in found if each is not None]


def _secret_files(settings: ClientSettings) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for upstream in settings.upstream:
        credential = upstream.credential
        if credential is None:
            continue
        references = [each.reference for each in credential.places if not each.per_user]
        files = [Path(each.name) for each in references if each and each.kind == "file"]
        files += [each for each in (credential.key_file, credential.assertion_key) if each]
        found += [(upstream.name, path) for path in files]
    return found


def _look(what: str, path: Path, forbidden: int) -> Facts | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    if facts.st_uid == 0 != os.geteuid() and stat.S_ISREG(facts.st_mode):
        forbidden &= ~0o040  # systemd hands credentials over as root's, mode 0440
    mode = f"{stat.S_IMODE(facts.st_mode):04o}"
    opened = bool(facts.st_mode & forbidden)
    return {
        "what": what,
        "path": str(path),
        "mode": mode,
        "open": opened,
        "changed": facts.st_mtime,
    }


def _upstream(
    upstream: UpstreamSettings, environ: Mapping[str, str], guards: Guards, pins: Table
) -> Facts:
    own = [
        pin for (name, kind, _), pin in pins.items() if (name, kind) == (upstream.name, Kind.TOOL)
    ]
    classes = Counter(pin.tool_class.value for pin in own if pin.tool_class is not None)
    credential = upstream.credential
    return {
        "name": upstream.name,
        "pinning": upstream.pinning == "required",
        "pins": dict(sorted(classes.items())),
        "oldest_pin": min((pin.pinned for pin in own), default=None),
        "credential": None if credential is None else credential.kind,
        "for_each_user": credential is not None and credential.per_user,
        "scrubbed": upstream.scrub if credential is None else credential.scrub,
        "variables": len(upstream.env),
        **(_http(upstream.url) if upstream.url else _stdio(upstream, environ, guards)),
    }


def _http(url: str) -> Facts:
    parts = urlsplit(url)
    socket = parts.scheme == "unix"
    target = "a Unix socket" if socket else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    here = socket or parts.hostname in ("127.0.0.1", "::1", "localhost")
    facts = {"transport": "http", "target": target, "in_clear": parts.scheme == "http" and not here}
    return {**facts, "sandbox": None, "caged": None, "consent": None, "any_version": False}


def _stdio(upstream: UpstreamSettings, environ: Mapping[str, str], guards: Guards) -> Facts:
    program = Path((upstream.command or ["-"])[0]).name
    caged, sandbox, network = None, None, upstream.sandbox.network
    try:
        guard = guards.of(upstream, environ)
        caged, sandbox = guard.reached.caged, str(guard.reached)
        refusal = guard.refusal()
    except ClientError as error:
        refusal = error
    return {
        "transport": "stdio",
        "target": program,
        "in_clear": False,
        "sandbox": sandbox,
        "caged": caged,
        "network": network or (caged is False),
        "consent": None if refusal is None else refusal.code,
        "any_version": upstream.allow_unpinned,
    }
