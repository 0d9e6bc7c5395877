"""`consents.json` in the state folder: what was agreed to, on which machine, and when.

Each entry carries a MAC over itself and this machine's id, made with a key that lies beside it. So
an entry that was edited by hand or came from another machine is not one. Whoever can read the
state folder and run our code can still make entries: they are the operator, or have become them.
"""

import hashlib
import hmac
import json
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunnel_client.consent.facts import Facts, canonical
from tunnel_client.errors import StateWriteError
from tunnel_client.errors_upstreams import ConsentFileError
from tunnel_client.files import make_folder, owners_of, read_guarded, write_private

CONSENT_FILE = "consents.json"
KEY_FILE = "consents.key"
VERSION = 1
_KEY_BYTES = 32
_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


@dataclass(frozen=True, slots=True)
class Consent:
    """One agreement; `at` is a time as text, `dangers` whether dangers were accepted too."""

    facts: Facts
    at: str
    dangers: bool


def host_id() -> str:
    """Return a digest that stands for this machine: its machine-id, else its host name."""
    for place in _MACHINE_IDS:
        try:
            text = place.read_text().strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text and text != "uninitialized":
            return hashlib.sha256(f"mcp-tunnel consent {text}".encode()).hexdigest()
    return hashlib.sha256(f"mcp-tunnel consent host {socket.gethostname()}".encode()).hexdigest()


class ConsentStore:
    """Reads and writes the file; what was read is kept until the file is another."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir
        self._path = state_dir / CONSENT_FILE
        self._state: tuple[int, int, int] | None = None
        self._entries: dict[str, Any] = {}
        self._key = b""

    @property
    def key(self) -> bytes:
        """The key of the MACs; empty before `make_key`, when nothing was agreed to yet.

        Raises ConsentFileError and UnsafeFileError.
        """
        if not self._key:
            self._key = self._load_key()
        return self._key

    def make_key(self) -> None:
        """Make the key when there is none; raises StateWriteError and what `key` raises."""
        if not self.key:
            self._write(self._folder / KEY_FILE, secrets.token_bytes(_KEY_BYTES))

    def check(self) -> None:
        """Raise UnsafeFileError where `put` would: nobody is asked, and told, in vain."""
        self._read_or_nothing()

    def find(self, name: str) -> Consent | None:
        """Return the consent for an upstream; raises ConsentFileError when it is not ours."""
        entry = self._read().get(name)
        if entry is None:
            return None
        consent = _consent(entry)
        if consent is None or not isinstance(entry.get("mac"), str):
            raise ConsentFileError(f"{self._path}: the entry for {name} is not one of ours")
        if entry.get("host") != host_id():
            raise ConsentFileError(f"{self._path}: the entry for {name} is of another machine")
        if not hmac.compare_digest(entry["mac"], self._mac(name, consent)):
            raise ConsentFileError(
                f"{self._path}: the entry for {name} was changed by hand or comes from elsewhere"
            )
        return consent

    def put(self, name: str, consent: Consent) -> None:
        """Keep a consent, on disk when this returns; raises StateWriteError."""
        self.make_key()
        entries = dict(self._read_or_nothing())
        entries[name] = {
            "facts": consent.facts,
            "at": consent.at,
            "dangers": consent.dangers,
            "host": host_id(),
            "mac": self._mac(name, consent),
        }
        text = json.dumps({"version": VERSION, "consents": entries}, indent=2, sort_keys=True)
        self._write(self._path, text.encode() + b"\n")
        self._state = None

    def _write(self, path: Path, content: bytes) -> None:
        try:
            if os.geteuid() != 0 or not self._folder.exists():
                make_folder(self._folder)
            # Root may agree for a daemon of another user, which has to be able to read it.
            owner = self._folder.stat()
            like = os.stat_result((0o600, 0, 0, 1, owner.st_uid, owner.st_gid, 0, 0, 0, 0))
            write_private(path, content, like=like)
        except OSError as error:
            raise StateWriteError(f"cannot write {path}: {error.strerror}") from None

    def _read_guarded(self, path: Path) -> bytes:
        owners = owners_of(self._folder)
        return read_guarded(path, forbidden=0o077, owners=owners, links=False)

    def _mac(self, name: str, consent: Consent) -> str:
        signed = [VERSION, host_id(), name, consent.facts, consent.at, consent.dangers]
        return hmac.new(self.key, canonical(signed), hashlib.sha256).hexdigest()

    def _load_key(self) -> bytes:
        path = self._folder / KEY_FILE
        try:
            key = self._read_guarded(path)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except OSError as error:
            raise ConsentFileError(f"cannot read {path}: {error.strerror}") from None
        if len(key) != _KEY_BYTES:
            raise ConsentFileError(f"{path} is not a key of ours")
        return key

    def _read_or_nothing(self) -> dict[str, Any]:
        try:
            return self._read()
        except ConsentFileError:
            return {}

    def _read(self) -> dict[str, Any]:
        try:
            facts = self._path.stat()
            state = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if state != self._state:
                raw = self._read_guarded(self._path)
                self._entries = _entries(raw)
                self._state = state
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError, RecursionError):
            raise ConsentFileError(f"{self._path} cannot be read as a list of consents") from None
        return self._entries


def _entries(raw: bytes) -> dict[str, Any]:
    value = json.loads(raw)
    if not isinstance(value, dict) or value.get("version") != VERSION:
        raise ValueError("not a list of consents")
    entries = value.get("consents")
    if not isinstance(entries, dict):
        raise ValueError("not a list of consents")
    return entries


def _consent(entry: object) -> Consent | None:
    if not isinstance(entry, dict):
        return None
    facts, at, dangers = entry.get("facts"), entry.get("at"), entry.get("dangers")
    if not isinstance(facts, dict) or not isinstance(at, str) or not isinstance(dangers, bool):
        return None
    return Consent(facts, at, dangers)
