"""Findings about the relay: its settings, files, log, people and sessions. Pure."""

from collections.abc import Iterator

from tunnel_relay.report.findings import Check, Doc

DAY = 86400.0
OLD_KEY_DAYS = 365
OLD_TOKEN_DAYS = 90
LONG_SESSION_DAYS = 7


def _policy(doc: Doc) -> Iterator[str]:
    if doc["policy"]["problem"]:
        yield f"relay: {doc['policy']['problem']}"


def _audit_off(doc: Doc) -> Iterator[str]:
    if not doc["settings"]["audit"]["on"]:
        yield "relay: audit.on is false"


def _audit_failing(doc: Doc) -> Iterator[str]:
    if doc["audit"]["failing"]:
        yield f"relay: {doc['audit']['failing']}"


def _log_broken(doc: Doc) -> Iterator[str]:
    log = doc["log"]
    if not log["looked"] and log["ok"] is False:
        yield f"relay: {log['problem']}"
    elif log["looked"] and not log["ok"]:
        if log["first_bad"] is not None:
            yield f"relay: record {log['first_bad']}: {log['reason']}"
        for each in log["odd"]:
            if each["grave"]:
                yield f"relay: record {each['seq']}: {each['kind']} {each['name']}"


def _log_unseen(doc: Doc) -> Iterator[str]:
    log = doc["log"]
    if doc["settings"]["audit"]["on"] and not log["looked"] and log["ok"] is not False:
        yield f"relay: {doc['log']['problem']}"


def _log_unproven(doc: Doc) -> Iterator[str]:
    if doc["log"]["looked"] and doc["log"]["unproven"]:
        yield f"relay: {doc['log']['unproven']}"


def _log_unsigned(doc: Doc) -> Iterator[str]:
    log = doc["log"]
    if log["looked"] and log["records"] and not (log["checkpoints"] or log["unproven"]):
        yield f"relay: {log['records']} records, no checkpoint"


def _reads_without(doc: Doc) -> Iterator[str]:
    if doc["settings"]["audit"]["reads_without"]:
        yield "relay: audit.reads_without is true"


def _demo(doc: Doc) -> Iterator[str]:
    if doc["settings"]["demo_certificate"]:
        yield "relay: its certificate is of init --demo"


def _admin_open(doc: Doc) -> Iterator[str]:
    admin = doc["settings"]["admin"]
    if admin is not None and not admin["loopback"]:
        yield "relay: admin.host is not loopback"


def _registration(doc: Doc) -> Iterator[str]:
    if doc["settings"]["registration"]:
        yield "relay: oauth.dynamic_registration is true"


def _files(doc: Doc) -> Iterator[str]:
    for each in doc["files"]:
        if each["open"]:
            yield f"relay: {each['what']} {each['path']} (mode {each['mode']})"


def _old_keys(doc: Doc) -> Iterator[str]:
    now = doc["made"]
    for each in doc["files"]:
        days = (now - each["changed"]) / DAY
        if "key" in each["what"] and days > OLD_KEY_DAYS:
            yield f"relay: {each['what']}, {days:.0f} days"
    for tunnel in doc["tunnels"]:
        for one in tunnel["instances"]:
            days = (now - one["created"]) / DAY
            if days > OLD_KEY_DAYS:
                yield f"client {one['id'][:12]} of {tunnel['name']}, {days:.0f} days"


def _unstored(doc: Doc) -> Iterator[str]:
    if doc["relay"]["unstored"]:
        yield f"relay: {doc['relay']['unstored']} changes are in memory only"


def _unowned(doc: Doc) -> Iterator[str]:
    for each in doc["tunnels"]:
        if each["owner_is"] != "active" and not each["disabled"]:
            yield f"{each['name']}: owner {each['owner']} is {each['owner_is']}"


def _copied(doc: Doc) -> Iterator[str]:
    for tunnel in doc["tunnels"]:
        for each in tunnel["instances"]:
            if each["locked"]:
                yield f"{tunnel['name']}: client {each['id'][:12]}"


def _holding(doc: Doc, role: str) -> list[str]:
    return [each["user"] for each in doc["users"] if role in each["roles"] and not each["disabled"]]


def _one_admin(doc: Doc) -> Iterator[str]:
    admins = _holding(doc, "admin")
    if len(admins) < 2:
        yield f"relay: {len(admins)} active admin{'s' if len(admins) != 1 else ''}"


def _no_auditor(doc: Doc) -> Iterator[str]:
    if not _holding(doc, "auditor"):
        yield "relay: nobody has the role auditor"


def _everywhere(doc: Doc) -> Iterator[str]:
    for each in doc["users"]:
        if "*" in each["servers"] and not each["disabled"]:
            yield f"user {each['user']}"


def _old_tokens(doc: Doc) -> Iterator[str]:
    for each in doc["tokens"]:
        days = (doc["made"] - each["created"]) / DAY
        if days > OLD_TOKEN_DAYS:
            yield f"{each['user']}: {each['name'] or each['id']}, {days:.0f} days"


def _never_idle(doc: Doc) -> Iterator[str]:
    count = doc["sessions"]["never_idle"]
    if count:
        yield f"{count} of {doc['sessions']['live']} living sessions"


def _long(doc: Doc) -> Iterator[str]:
    for each in doc["sessions"]["longest"]:
        days = (each["expires"] - each["created"]) / DAY
        if days > LONG_SESSION_DAYS:
            yield f"{each['id'][:12]}: {each['user']} at {each['server']}, {days:.0f} days"


CHECKS = (
    Check(
        "policy-broken",
        "high",
        "The policy file cannot be used",
        "What holds is the policy from before, or none. What somebody meant to deny may be open.",
        "tunnel-relay policy check",
        _policy,
    ),
    Check(
        "audit-off",
        "high",
        "The relay writes nothing down",
        "Nobody can say afterwards who called what, or who allowed it.",
        "set audit.on = true, then: tunnel-relay check-config",
        _audit_off,
    ),
    Check(
        "audit-failing",
        "high",
        "The log cannot be written now",
        "What changes something is refused until the disk takes records again.",
        "make room on the disk of the log, then: tunnel-relay status",
        _audit_failing,
    ),
    Check(
        "log-broken",
        "high",
        "The log is not what was written",
        "Records were changed, removed or exchanged, or the disk lost them, or nobody can read it.",
        "keep the folder as it is, and compare it with a checkpoint from elsewhere",
        _log_broken,
    ),
    Check(
        "log-unproven",
        "high",
        "Nothing vouches for records that must have been signed",
        "Checkpoints could not be written, or were taken away from a log that was written anew.",
        "compare the log with a checkpoint from elsewhere: tunnel-relay audit verify --checkpoint",
        _log_unproven,
    ),
    Check(
        "demo-certificate",
        "high",
        "The certificate is one for trying out",
        "Its authority lies beside it: who reads that folder can pose as the relay.",
        "set tls.cert_file and tls.key_file, then: tunnel-relay check-config",
        _demo,
    ),
    Check(
        "secret-readable",
        "high",
        "Others on the machine get at a file of the relay",
        "Keys sign in the relay's name; the policy says what agents may do.",
        "chmod 600 the file (700 a folder), and make a key anew that others could read",
        _files,
    ),
    Check(
        "key-copied",
        "high",
        "Two machines used one client key",
        "A disk was copied or an image restored; the relay has locked the key.",
        "tunnel-relay tunnel rotate NAME, then enrol the rightful machine again",
        _copied,
    ),
    Check(
        "unowned",
        "medium",
        "Nobody answers for a tunnel",
        "Its owner is not known here or is switched off: nobody sees to what it offers.",
        "tunnel-relay user add USER, or tunnel-relay tunnel delete NAME",
        _unowned,
    ),
    Check(
        "one-admin",
        "medium",
        "There are fewer than two admins",
        "Nobody can look over the admin's shoulder, or step in when they are away.",
        "tunnel-relay user add USER --role admin",
        _one_admin,
    ),
    Check(
        "everywhere",
        "medium",
        "Users may open sessions for every server",
        "A server that is added tomorrow is theirs as well.",
        "tunnel-relay user change USER --server TUNNEL/UPSTREAM",
        _everywhere,
    ),
    Check(
        "admin-open",
        "medium",
        "The console listens beyond this machine",
        "Everybody who reaches the address can try passwords there.",
        'set admin.host = "127.0.0.1" and reach it through a tunnel or a proxy of your own',
        _admin_open,
    ),
    Check(
        "unstored",
        "medium",
        "What was taken away is not stored yet",
        "It holds as long as the relay runs or its journal is kept.",
        "mend the database, then: tunnel-relay status",
        _unstored,
    ),
    Check(
        "never-idle",
        "low",
        "Sessions end by time only",
        "Their idle limit is as long as their life: a forgotten token works to the end.",
        "tunnel-relay session create --idle 1h",
        _never_idle,
    ),
    Check(
        "long-session",
        "low",
        "Sessions live for longer than a week",
        "A stolen token is good for as long.",
        "tunnel-relay session revoke ID, and a lower sessions.max_ttl",
        _long,
    ),
    Check(
        "no-auditor",
        "low",
        "Nobody has the role auditor",
        "Who reviews has to be an admin, and could change what is reviewed.",
        "tunnel-relay user add USER --role auditor",
        _no_auditor,
    ),
    Check(
        "open-registration",
        "low",
        "Any agent may register itself",
        "Users can then be asked to consent to an agent nobody looked at.",
        "set oauth.dynamic_registration = false",
        _registration,
    ),
    Check(
        "old-key",
        "low",
        "Keys are older than a year",
        "The longer a key is in use, the more copies of it there may be.",
        "tunnel-relay tunnel rotate NAME, and enrol the client again",
        _old_keys,
    ),
    Check(
        "old-token",
        "low",
        "Admin tokens are older than 90 days",
        "A token in a script outlives the reason it was made for.",
        "tunnel-relay user tokens, then: tunnel-relay user token-revoke ID",
        _old_tokens,
    ),
    Check(
        "reads-unrecorded",
        "low",
        "Reading goes on while the log cannot be written",
        "What agents saw in that time is not known afterwards.",
        "set audit.reads_without = false",
        _reads_without,
    ),
    Check(
        "log-unsigned",
        "low",
        "No checkpoint of the log is signed",
        "The chain shows a change, but not that the whole was written anew.",
        "wait ten seconds after the start, then: tunnel-relay report",
        _log_unsigned,
    ),
    Check(
        "log-unseen",
        "low",
        "The log was not verified for this report",
        "Whether it is what was written is not known.",
        "on the relay's machine, as the relay's user: tunnel-relay report",
        _log_unseen,
    ),
)
