"""Keeps what a login gave: in the system's keyring where there is one, else in a private file.

The file is always there and says where the tokens are; in the keyring only the secrets are kept.
One lock for each server is held by whoever renews or logs in, in whatever process: a refresh token
that is used twice ends the session.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import anyio
import jiter
from pydantic import SecretStr

from tunnel_client.connect.address import WebUrl
from tunnel_client.connect.grant import Grant, is_token_text
from tunnel_client.connect.threads import in_thread
from tunnel_client.errors import StateWriteError
from tunnel_client.errors_connect import BadServerUrlError, ConnectBusyError
from tunnel_client.files import make_folder, read_guarded, write_private

KEYRING_SECONDS = 30.0
"""A keyring may ask its owner to unlock it."""
_POLL_SECONDS = 0.1
_SERVICE = "mcp-tunnel"
_TEXTS = ("server", "issuer", "client_id", "token_endpoint")


class Keyring(Protocol):
    """What is used of the `keyring` library."""

    def get_password(self, service: str, name: str) -> str | None: ...

    def set_password(self, service: str, name: str, secret: str) -> None: ...

    def delete_password(self, service: str, name: str) -> None: ...


def system_keyring() -> Keyring | None:
    """Return the keyring of this system; None without the library or a backend that keeps."""
    try:
        import keyring
    except ImportError:
        return None
    try:
        backend: Any = keyring.get_keyring()
        return backend if backend.priority > 0 and "fail" not in type(backend).__module__ else None
    except Exception:  # noqa: BLE001 - a backend of anybody's, and there is the file
        return None


class TokenStore:
    """The grant of one server."""

    def __init__(self, state_dir: Path, server: WebUrl, keyring: Keyring | None) -> None:
        self._state_dir = state_dir
        self._folder = state_dir / "connect"
        name = hashlib.sha256(server.text.encode()).hexdigest()[:32]
        self._file = self._folder / f"{name}.json"
        self._lock = self._folder / f"{name}.lock"
        self._server = server.text
        self._keyring = keyring

    async def load(self) -> Grant | None:
        """Return what is kept; what cannot be read counts as nothing. Raises UnsafeFileError."""
        try:
            raw = read_guarded(self._file, forbidden=0o077, owners=(os.geteuid(),), links=False)
            kept = jiter.from_json(raw)
        except (OSError, ValueError):
            return None
        if not isinstance(kept, dict) or kept.get("server") != self._server:
            return None
        secrets = kept if kept.get("kept") == "file" else await self._from_keyring()
        return _grant(kept, secrets)

    async def save(self, grant: Grant) -> None:
        """Keep a grant in place of the one before; raises StateWriteError and UnsafeFileError."""
        secrets = {
            "access": grant.access.get_secret_value(),
            "refresh": grant.refresh.get_secret_value() if grant.refresh else None,
        }
        public = {key: getattr(grant, key) for key in (*_TEXTS, "revocation_endpoint", "expires")}
        if await self._to_keyring(secrets):
            content = {**public, "kept": "keyring"}
        else:
            content = {**public, "kept": "file", **secrets}
        try:
            self._make_folder()
            write_private(self._file, json.dumps(content).encode())
        except OSError as error:
            raise StateWriteError(f"cannot write {self._file}: {error.strerror}") from None

    async def forget(self) -> None:
        """Remove what is kept, wherever it is; raises StateWriteError."""
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            raise StateWriteError(f"cannot remove {self._file}: {error.strerror}") from None
        keyring = self._keyring
        if keyring is not None:
            with contextlib.suppress(Exception), anyio.move_on_after(KEYRING_SECONDS):
                await in_thread(lambda: keyring.delete_password(_SERVICE, self._server), "keyring")

    @asynccontextmanager
    async def locked(self, seconds: float) -> AsyncIterator[None]:
        """Hold the server's lock among all processes; raises ConnectBusyError after `seconds`."""
        try:
            self._make_folder()
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._lock, flags, 0o600)
        except OSError as error:
            raise StateWriteError(f"cannot use {self._folder}: {error.strerror}") from None
        try:
            ends = time.monotonic() + seconds
            while not _try_lock(descriptor):
                if time.monotonic() >= ends:
                    raise ConnectBusyError("another process is logging in at this server")
                await anyio.sleep(_POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def _make_folder(self) -> None:
        make_folder(self._state_dir)
        make_folder(self._folder)

    async def _from_keyring(self) -> Any:
        keyring = self._keyring
        if keyring is None:
            return None
        with contextlib.suppress(Exception), anyio.move_on_after(KEYRING_SECONDS):
            found = await in_thread(lambda: keyring.get_password(_SERVICE, self._server), "keyring")
            return jiter.from_json((found or "").encode())
        return None

    async def _to_keyring(self, secrets: dict[str, str | None]) -> bool:
        keyring = self._keyring
        if keyring is None:
            return False
        text = json.dumps(secrets)
        with contextlib.suppress(Exception), anyio.move_on_after(KEYRING_SECONDS):
            await in_thread(lambda: keyring.set_password(_SERVICE, self._server, text), "keyring")
            return True
        return False


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _grant(kept: dict[str, Any], secrets: Any) -> Grant | None:
    if not isinstance(secrets, dict):
        return None
    access, refresh = secrets.get("access"), secrets.get("refresh")
    revoke, expires = kept.get("revocation_endpoint"), kept.get("expires")
    if not is_token_text(access) or not (refresh is None or is_token_text(refresh)):
        return None
    if not all(isinstance(kept.get(key), str) for key in _TEXTS):
        return None
    if not isinstance(revoke, str | None) or not isinstance(expires, int | float | None):
        return None
    try:
        for endpoint in (kept["token_endpoint"], revoke):
            if endpoint is not None:
                WebUrl.parse(endpoint)
    except BadServerUrlError:
        return None
    return Grant(
        **{key: kept[key] for key in _TEXTS},
        revocation_endpoint=revoke,
        expires=expires,
        access=SecretStr(access),
        refresh=None if refresh is None else SecretStr(refresh),
    )
