"""Findings about clients, by their own word: sandboxes, credentials, pins, permits, logs. Pure."""

from collections.abc import Iterator

from tunnel_relay.report.findings import Check, Doc
from tunnel_relay.report.rules import is_open


def _name(part: Doc) -> str:
    return f"client {part['instance'][:12]} of {part['tunnel']}"


def _upstreams(doc: Doc) -> Iterator[tuple[str, Doc]]:
    for part in doc["clients"]:
        yield from ((f"{part['tunnel']}/{each['name']}", each) for each in part["upstreams"])


def _not_told(doc: Doc) -> Iterator[str]:
    told = {(part["tunnel"], part["instance"]) for part in doc["clients"]}
    for tunnel in doc["tunnels"]:
        for each in tunnel["instances"]:
            if (tunnel["name"], each["id"]) not in told:
                yield f"client {each['id'][:12]} of {tunnel['name']}"


def _stranger(doc: Doc) -> Iterator[str]:
    yield from map(_name, doc["strangers"])


def _unsandboxed(doc: Doc) -> Iterator[str]:
    for name, each in _upstreams(doc):
        if each["transport"] == "stdio" and not each["caged"]:
            yield f"{name}: {each['sandbox'] or 'its program is not there'}"


def _all_network(doc: Doc) -> Iterator[str]:
    for name, each in _upstreams(doc):
        if each["transport"] == "stdio" and each["caged"] and each["network"]:
            yield f"{name}: {each['sandbox']}"


def _unpinned(doc: Doc) -> Iterator[str]:
    for name, each in _upstreams(doc):
        if not each["pinning"]:
            yield name


def _any_version(doc: Doc) -> Iterator[str]:
    for name, each in _upstreams(doc):
        if each["any_version"]:
            yield f"{name}: {each['target']}"


def _no_consent(doc: Doc) -> Iterator[str]:
    for name, each in _upstreams(doc):
        if each["consent"]:
            yield f"{name}: {each['consent']}"


def _in_clear(doc: Doc) -> Iterator[str]:
    for name, each in _upstreams(doc):
        if each["in_clear"]:
            yield f"{name}: {each['target']}"


def _shared(doc: Doc) -> Iterator[str]:
    for name, each in _upstreams(doc):
        if each["credential"] and not each["for_each_user"]:
            yield f"{name}: {each['credential']}"


def _unscrubbed(doc: Doc) -> Iterator[str]:
    for name, each in _upstreams(doc):
        holds = each["credential"] not in (None, "mtls") or each["variables"]
        if holds and not each["scrubbed"]:
            yield name


def _policy(doc: Doc) -> Iterator[str]:
    for part in doc["clients"]:
        if part["policy"]["problem"]:
            yield f"{_name(part)}: {part['policy']['problem']}"


def _everything(doc: Doc) -> Iterator[str]:
    for part in doc["clients"]:
        for rule in part["policy"]["rules"]:
            if is_open(rule) and rule["classes"] is None:
                yield f"{_name(part)}: rule {rule['id']} (line {rule['line']})"


def _forged(doc: Doc) -> Iterator[str]:
    for part in doc["clients"]:
        rules = [each["id"] for each in part["policy"]["rules"] if each["approvers"] is not None]
        if rules and not part["policy"]["approver_keys"]:
            yield f"{_name(part)}: approver_keys lists nobody, asked by {', '.join(rules[:5])}"


def _audit_off(doc: Doc) -> Iterator[str]:
    for part in doc["clients"]:
        if not part["audit"]["on"]:
            yield _name(part)


def _log_broken(doc: Doc) -> Iterator[str]:
    for part in doc["clients"]:
        audit = part["audit"]
        if audit["problem"]:
            yield f"{_name(part)}: {audit['problem']}"
        elif audit["ok"] is False and not audit["unproven"]:
            at, why = audit["first_bad"], audit["reason"]
            odd = "calls and approvals in its log do not fit together"
            yield f"{_name(part)}: {odd if at is None else f'record {at}: {why}'}"


def _log_unproven(doc: Doc) -> Iterator[str]:
    for part in doc["clients"]:
        if part["audit"]["unproven"]:
            yield f"{_name(part)}: {part['audit']['unproven']}"


def _files(doc: Doc) -> Iterator[str]:
    for part in doc["clients"]:
        for each in part["files"]:
            if each["open"]:
                yield f"{_name(part)}: {each['what']} {each['path']} (mode {each['mode']})"


CHECKS = (
    Check(
        "client-allows-everything",
        "high",
        "A rule of a client allows everything",
        "The private side has the last word, and its word is always yes.",
        "on the client's machine: tunnel-client policy check",
        _everything,
    ),
    Check(
        "pinning-off",
        "high",
        "Tools are not pinned",
        "A server that is taken over offers new tools, and agents call them at once.",
        'on the client\'s machine: set pinning = "required", then: tunnel-client tool pin UPSTREAM',
        _unpinned,
    ),
    Check(
        "unsandboxed",
        "high",
        "Programs run without a sandbox",
        "A server started there reads what the client's user reads, and reaches what it reaches.",
        'on the client\'s machine: set sandbox.level = "required", or install bubblewrap',
        _unsandboxed,
    ),
    Check(
        "client-policy-broken",
        "high",
        "The policy file of a client cannot be used",
        "Nothing is served after its next start, and what holds now is older than the file.",
        "on the client's machine: tunnel-client policy check",
        _policy,
    ),
    Check(
        "client-audit-off",
        "high",
        "A client writes nothing down",
        "What reached the private servers is then the relay's word alone.",
        "on the client's machine: set audit.on = true",
        _audit_off,
    ),
    Check(
        "client-log-broken",
        "high",
        "The log of a client is not what was written",
        "Records were changed, removed or exchanged, or cannot be read.",
        "on the client's machine: tunnel-client audit verify",
        _log_broken,
    ),
    Check(
        "client-log-unproven",
        "high",
        "Nothing vouches for records of a client that must have been signed",
        "Checkpoints could not be written, or were taken away from a log that was written anew.",
        "on the client's machine: tunnel-client audit verify --checkpoint, with one from elsewhere",
        _log_unproven,
    ),
    Check(
        "client-secret-readable",
        "high",
        "Others on a client's machine get at its files",
        "Who holds the key or a credential needs no agent and no relay.",
        "chmod 600 the file (700 a folder), and make a secret anew that others could read",
        _files,
    ),
    Check(
        "unknown-client",
        "high",
        "A client's file is of nobody who is enrolled",
        "Its tunnel, name or key is not one that this relay knows: what it says is left aside.",
        "tunnel-relay tunnel show NAME",
        _stranger,
    ),
    Check(
        "relay-signs",
        "medium",
        "The relay alone could say yes in a person's name",
        "The client asks for approvals and lists no approvers' keys: the relay's word is enough.",
        "list approver_keys in the client's policy: tunnel-relay approval keygen, or a passkey",
        _forged,
    ),
    Check(
        "in-clear",
        "medium",
        "A private server is reached without TLS",
        "Credentials and answers cross the private network for everybody to read.",
        "on the client's machine: give the upstream an https:// url",
        _in_clear,
    ),
    Check(
        "all-network",
        "medium",
        "Programs in the sandbox reach the network",
        "What they read they can send anywhere.",
        "on the client's machine: name sandbox.hosts and install bubblewrap",
        _all_network,
    ),
    Check(
        "any-version",
        "medium",
        "A package runner takes whatever version is newest",
        "Whoever publishes the package decides what runs in the private network.",
        "on the client's machine: name a version in the command, then: tunnel-client consent list",
        _any_version,
    ),
    Check(
        "unscrubbed",
        "medium",
        "Answers are not searched for the credential",
        "A server that echoes its headers hands the credential to the agent.",
        "on the client's machine: leave scrub out of the credential",
        _unscrubbed,
    ),
    Check(
        "not-started",
        "low",
        "Programs are not started as they are",
        "Nobody agreed to them, or they changed since. Agents get an error.",
        "on the client's machine: tunnel-client consent list",
        _no_consent,
    ),
    Check(
        "shared-credential",
        "low",
        "All users share one credential at a server",
        "The server cannot tell them apart: its own rights and log speak of one account.",
        "on the client's machine: use {user} or users in the credential",
        _shared,
    ),
    Check(
        "not-told",
        "low",
        "Clients did not add their part",
        "Sandboxes, credentials, pins and the policy of the private side are not known here.",
        "there: tunnel-client report --json > FILE; here: tunnel-relay report --client FILE",
        _not_told,
    ),
)
