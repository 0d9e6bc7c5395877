"""One redacted archive for whoever helps: members, a manifest of them, and what is taken out.

What goes in is given to it; it looks at the log's folder and at nothing else.
"""

import gzip
import hashlib
import io
import json
import os
import platform
import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel, SecretStr

from shared.configfile import SecretRef
from shared.version import VERSION

SCHEMA_VERSION = 1
MASK = "[REDACTED]"
MAX_MEMBER = 1024 * 1024
"""Bytes of one member; with the number of members this bounds the archive."""
MAX_DEPTH = 32
LAST_RECORDS = 200
"""Audit records that go in."""
_SECRET_KEY = re.compile(
    r"token$|password|passwd|secret|authorization|cookie|api_?key|private|join_?code|^code_hash",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"(?<=://)[^/\s@\"']+@")
_QUERY = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']+")
_PATH = re.compile(r"(https?://[^\s/?#\"']+)(/[^\s?#\"']*)")
_NAME = re.compile(r"[\w.~-]{0,7}|[A-Za-z._-]{8,30}")
"""A part of a path that is no key: short, or made of letters as words are."""
_UUID = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
_RANDOM = re.compile(r"[A-Za-z0-9_+=~-]{20,}")
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+\S+")
_RECORD = (
    *("seq", "time", "kind", "call", "outcome", "us"),
    *("result", "delivery", "status", "closed_by"),
)
_OF_RECORD = {"what": ("server", "method", "class"), "why": ("decision", "rule")}


def masked(text: str) -> str:
    """Return a text without what looks like a secret.

    Logins and queries of URLs, what is no name in their paths (hosted servers put a key there), and
    random words.
    """
    text = _LOGIN.sub(f"{MASK}@", text)
    text = _QUERY.sub(rf"\1?{MASK}", text)
    text = _PATH.sub(_named, text)
    text = _UUID.sub(MASK, text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _HEX.sub(MASK, text)
    return _RANDOM.sub(lambda found: MASK if _random(found[0]) else found[0], text)


def _named(found: re.Match[str]) -> str:
    parts = found[2].split("/")
    return found[1] + "/".join(each if _NAME.fullmatch(each) else MASK for each in parts)


def _random(word: str) -> bool:
    kinds = (str.isupper, str.islower, str.isdigit)
    return word.startswith("mts_") or all(any(map(kind, word)) for kind in kinds)


def blanked(value: Any, depth: int = 0) -> Any:
    """Return a value for JSON: secrets and what looks like one are masked, paths are kept."""
    if depth > MAX_DEPTH:
        return MASK
    match value:
        case None | bool() | int() | float():
            return value
        case SecretStr():
            return MASK
        case SecretRef():
            return f"{value.kind}:{value.name}"
        case PurePath():
            return str(value)
        case str():
            return masked(str(value))
        case BaseModel():
            return blanked({name: getattr(value, name) for name in type(value).model_fields}, depth)
        case Mapping():
            return {str(key): _under(str(key), each, depth) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [blanked(each, depth + 1) for each in value]
    return masked(str(value))


def _under(key: str, value: Any, depth: int) -> Any:
    if key == "env" and isinstance(value, Mapping):
        return {str(name): MASK for name in value}
    if key == "command" and isinstance(value, list) and value:
        return [blanked(value[0]), f"[{len(value) - 1} arguments not shown]"]
    if _SECRET_KEY.search(key) and isinstance(value, str):
        return MASK
    return blanked(value, depth + 1)


def bare_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return of an audit record only what tells no argument, person or name of a thing."""
    kept = {name: record[name] for name in _RECORD if name in record}
    for part, names in _OF_RECORD.items():
        inner = record.get(part)
        if isinstance(inner, Mapping):
            kept[part] = {name: inner[name] for name in names if name in inner}
    return kept


@dataclass(slots=True)
class Bundle:
    """Members of an archive. A part that fails is named in the manifest, and stops no other.

    `clean` takes known secrets out of a member's bytes; `facts` stand in the manifest.
    """

    facts: Mapping[str, Any]
    clean: Callable[[bytes], bytes] = bytes
    _members: list[tuple[dict[str, Any], bytes]] = field(default_factory=list)
    _missing: list[dict[str, str]] = field(default_factory=list)

    def add(self, name: str, what: str, redacted: str, make: Callable[[], Any]) -> None:
        """Put in what `make` returns: a text as it is, anything else as JSON, blanked."""
        try:
            made = make()
            text = masked(made) if isinstance(made, str) else _json(blanked(made))
            content = self.clean(text.encode("utf-8", "replace"))
        except Exception as error:  # noqa: BLE001 - one broken part is what is being looked for
            code = str(getattr(error, "code", "")) or type(error).__name__
            why = self.clean(masked(str(error)).encode("utf-8", "replace")).decode()[:400]
            self._missing.append({"name": name, "what": what, "code": code, "why": why})
            return
        cut = len(content) > MAX_MEMBER
        content = content[:MAX_MEMBER]
        entry = {
            "name": name,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "what": what,
            "redacted": redacted,
            "cut": cut,
        }
        self._members.append((entry, content))

    @property
    def missing(self) -> Sequence[dict[str, str]]:
        """What could not be had, and why."""
        return self._missing

    @property
    def names(self) -> list[str]:
        """Names of what is in."""
        return [str(entry["name"]) for entry, _ in self._members]

    def archive(self, folder: str, now: int) -> bytes:
        """Return the `tar.gz`; `now` in seconds is the time of every member."""
        manifest = {"schema_version": SCHEMA_VERSION, **self.facts}
        manifest |= {"members": [entry for entry, _ in self._members], "missing": self._missing}
        content = self.clean(_json(manifest).encode())
        whole = [("manifest.json", content)]
        whole += [(str(entry["name"]), member) for entry, member in self._members]
        out = io.BytesIO()
        with (
            gzip.GzipFile(fileobj=out, mode="wb", mtime=now) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for name, member in whole:
                info = tarfile.TarInfo(f"{folder}/{name}")
                info.size, info.mode, info.mtime = len(member), 0o600, now
                tar.addfile(info, io.BytesIO(member))
        return out.getvalue()


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


LIBRARIES = ("click", "cryptography", "httptools", "jiter", "pydantic", "uvloop", "websockets")
NOT_IN = (
    *("keys", "credentials", "tokens", "join codes", "arguments and results of calls"),
    *("who called", "environment variables", "contents of the log beyond bare records"),
)


def facts(program: str, now: str) -> dict[str, Any]:
    """Return what a manifest says of the program and its machine; `now` is a date and time."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "program": program,
        "version": VERSION,
        "python": platform.python_version(),
        "os": platform.platform(),
        "libraries": versions,
        "made": now,
        "never_in": list(NOT_IN),
    }


def add_log(bundle: Bundle, folder: Path) -> None:
    """Put in what came of verifying the log of a folder, and its last records without contents."""
    from shared.audit.keys import PUBLIC_FILE
    from shared.audit.query import Query, Wanted
    from shared.audit.verifying import verify_folder
    from shared.keys import decode_public

    def verified() -> Any:
        public = decode_public((folder / PUBLIC_FILE).read_text().strip())
        found = verify_folder(folder, public).as_dict()
        return {name: value for name, value in found.items() if name in _VERDICT}

    def last() -> Any:
        with Query(folder) as log:
            found = log.page(Wanted(), limit=LAST_RECORDS, newest=True).records
        return [bare_record(record) for record in reversed(found)]

    bundle.add("audit-verify.json", "does the log verify", "checkpoints", verified)
    what = f"the last {LAST_RECORDS} records"
    bundle.add("audit-last.json", what, "all but kind, time, server, method, verdict, end", last)


_VERDICT = ("ok", "records", "checkpoints", "signed", "unproven", "first_bad", "reason", "torn")


def policy_facts(text: str) -> dict[str, Any]:
    """Return what may be told of a policy without its text."""
    rules = len(re.findall(r"(?m)^\s*(?:-\s+|- *\{ *)id\s*:", text))
    return {"sha256_of_file": _grouped(hashlib.sha256(text.encode()).hexdigest()), "rules": rules}


def _grouped(digest: str) -> str:
    # In groups, so that it is not taken for a secret.
    return " ".join(digest[at : at + 8] for at in range(0, len(digest), 8))


def without_comments(text: str) -> str:
    """Return a policy's text without its comments, which say what people meant for themselves."""
    return re.sub(r"(?m)(^|\s)#.*$", r"\1", text)


def write_archive(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600; raises OSError, also when one is there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)


def told(path: Path, bundle: Bundle) -> str:
    """Return what the command says at its end."""
    lines = [str(path), f"  in it: {', '.join(['manifest.json', *bundle.names])}"]
    lines += [f"  missing: {each['name']}: {each['why']}" for each in bundle.missing]
    lines.append(f"  never in it: {', '.join(NOT_IN)}")
    lines.append(f"look at it before you send it: tar tzf {path}")
    return "\n".join(lines)
