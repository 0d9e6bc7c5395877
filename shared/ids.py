"""Names and random identifiers: their shape, how they are made, how they may be shown."""

import hashlib
import re
import secrets

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""Names of tunnels and upstreams: what is safe in a URL, a shell and a file name (DNS label)."""

SESSION_PREFIX = "mts_"
JOIN_PREFIX = "mtj_"
REFRESH_PREFIX = "mtr_"
AGENT_SECRET_PREFIX = "mtc_"  # noqa: S105 # what secrets begin with
ADMIN_PREFIX = "mta_"
_TOKEN = re.compile(r"mt[sjrca]_[A-Za-z0-9_-]{43}")


def is_name(text: str) -> bool:
    """Tell whether `text` may name a tunnel or an upstream."""
    return NAME.fullmatch(text) is not None


def new_token(prefix: str) -> str:
    """Make a secret of 256 random bits: the prefix and 43 url-safe characters."""
    return prefix + secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Tell whether `text` has the shape of a token of ours; says nothing of its validity."""
    return _TOKEN.fullmatch(text) is not None


def token_digest(token: str) -> bytes:
    """Return the 32 bytes under which a token is stored and looked up, never the token itself."""
    return hashlib.sha256(token.encode()).digest()


def fingerprint(digest: bytes) -> str:
    """Return the 8 hex digits by which a digest may appear in logs and listings."""
    return digest[:4].hex()


def new_id() -> str:
    """Make an identifier of 128 random bits as 32 hex digits."""
    return secrets.token_hex(16)
