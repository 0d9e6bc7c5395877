"""Fetches secrets from where the configuration says they are kept."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
from pydantic import SecretStr

from shared import ours
from shared.configfile import SecretError as UnreadableSecretError
from shared.configfile import SecretRef
from tunnel_client.credentials.settings import Place
from tunnel_client.credentials.vault import Vault
from tunnel_client.errors import SecretError
from tunnel_client.errors_upstreams import CredentialError
from tunnel_client.files import read_guarded

COMMAND_SECONDS = 10.0
MAX_SECRET_BYTES = 64 * 1024
_COMMAND_SEES = ("PATH", "HOME", "LANG")


@dataclass(frozen=True, slots=True)
class Sources:
    """All there is to fetch secrets with."""

    environ: Mapping[str, str]
    vault: Vault | None = None

    def now(self, place: Place) -> SecretStr | None:
        """Read a secret that is at hand, None for one that takes waiting for; raises as below."""
        if place.reference is None:
            return None
        return read_reference(place.reference, self.environ)

    async def read(self, place: Place) -> SecretStr:
        """Fetch a secret; raises SecretError, UnsafeFileError and CredentialError."""
        if place.vault is not None:
            if self.vault is None:
                raise CredentialError("no [vault] is configured")
            return await self.vault.read(*place.vault)
        if place.command:
            return await run_command(place.command, self.environ)
        assert place.reference is not None  # noqa: S101 - a place is one of three
        return read_reference(place.reference, self.environ)


def read_reference(reference: SecretRef, environ: Mapping[str, str]) -> SecretStr:
    """Read `env:`, `file:` or `credential:`; raises SecretError and UnsafeFileError.

    A file is ours or root's and closed to others; a link to it only we or root can change.
    """

    def read(path: str) -> str:
        # systemd hands credentials out as 0440; nobody else may read or change the file.
        owners = (0, *ours.owners())
        return read_guarded(Path(path), forbidden=0o027, owners=owners, links=None).decode()

    try:
        return reference.resolve(environ, read)
    except UnreadableSecretError as error:
        raise SecretError(str(error)) from None


async def run_command(argv: tuple[str, ...], environ: Mapping[str, str]) -> SecretStr:
    """Return what a program prints, without its last line end; raises CredentialError.

    No shell, a small environment, 10 s, 64 KiB; what it says on standard error is not looked at,
    because it may hold the secret.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: environ[name] for name in _COMMAND_SEES if name in environ},
            start_new_session=True,
        )
    except OSError as error:
        raise CredentialError(f"the command cannot be run ({type(error).__name__})") from None
    try:
        with anyio.fail_after(COMMAND_SECONDS):
            output = await _all_of(process)
            code = await process.wait()
    except TimeoutError:
        raise CredentialError(f"the command took longer than {COMMAND_SECONDS:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.wait()
    if code != 0:
        raise CredentialError(f"the command ended with {code}")
    return _secret(output)


async def _all_of(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None  # noqa: S101 - asked for above
    output = bytearray()
    while piece := await process.stdout.read(MAX_SECRET_BYTES):
        output += piece
        if len(output) > MAX_SECRET_BYTES:
            raise CredentialError("the command prints more than 64 KiB")
    return bytes(output)


def _secret(output: bytes) -> SecretStr:
    try:
        text = output.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise CredentialError("the command does not print text") from None
    if not text:
        raise CredentialError("the command prints nothing")
    return SecretStr(text)
