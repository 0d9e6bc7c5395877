"""The two keys of a log: one signs its checkpoints, the other makes the tags of redacted values.

Both are made on the first start, in files of mode 0600. The key of the tags lies apart from the
log: who is handed a copy of the folder can test no guess with it.
"""

import secrets
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import SecretBytes, SecretStr

from shared.audit.private import AuditError, read_private, write_private
from shared.keys import BadKeyError, PrivateKey, decode_public, encode_public
from shared.record.redact import KEY_BYTES, Redactor

KEY_FILE = "key.pem"
PUBLIC_FILE = "key.pub"
TAGS_FILE = "audit-tags.key"


def read_or_make_key(folder: Path, path: Path | None = None, *, fresh: bool) -> PrivateKey:
    """Return the key that signs the checkpoints of the log in `folder`; raises AuditError.

    `path`: where it is when it is not in the folder. It is made with a `fresh` log only: a new key
    for an old log would be the key of whoever wrote that log anew.
    """
    path = path or folder / KEY_FILE
    try:
        key = PrivateKey.from_pem(SecretStr(read_private(path).decode()))
    except FileNotFoundError:
        if not fresh:
            raise AuditError(f"{path} is gone, and its log is not") from None
        key = PrivateKey.generate()
        write_private(path, key.to_pem().get_secret_value().encode())
    except (UnicodeDecodeError, BadKeyError) as error:
        raise AuditError(f"cannot use {path}: {error}") from None
    public = folder / PUBLIC_FILE
    if not public.exists():
        write_private(public, encode_public(key.public).encode() + b"\n")
    return key


def read_public(path: Path) -> bytes:
    """Return the public key in a file; raises AuditError."""
    try:
        return decode_public(path.read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError, BadKeyError) as error:
        raise AuditError(f"no public key in {path}: {type(error).__name__}") from None


def read_or_make_tag_key(path: Path) -> SecretBytes:
    """Return the key of the tags, 64 hex digits in its file; raises AuditError."""
    try:
        text = read_private(path)
    except FileNotFoundError:
        text = secrets.token_hex(KEY_BYTES).encode() + b"\n"
        write_private(path, text)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise AuditError(f"{path} holds no key")
    return SecretBytes(key)


def read_redactor(path: Path, clear: Mapping[str, Collection[str]]) -> Redactor:
    """Return what redacts by the key in a file, made if it is missing; raises AuditError."""
    return Redactor(read_or_make_tag_key(path).get_secret_value(), clear)
