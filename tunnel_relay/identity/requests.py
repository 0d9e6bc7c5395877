"""What an agent asks of the authorization server, judged: a value or a refusal. Pure.

Follows OAuth 2.1, RFC 7636 (PKCE), RFC 8707 (resource) and RFC 9207 (iss).
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from tunnel_relay.identity.resources import server_of

MAX_VALUE = 2048
"""Characters in one parameter."""
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class RequestError(Exception):
    """A request that is refused; `error` is the code of RFC 6749, the text is for people.

    `wait`: seconds after which it may be tried again, 0 when that changes nothing.
    """

    def __init__(self, error: str, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.error = error
        self.text = text
        self.wait = wait


@dataclass(frozen=True, slots=True)
class AuthorizeRequest:
    """A request for a code that may be answered at `redirect_uri`."""

    agent: str
    redirect_uri: str
    state: str | None
    challenge: str
    resource: str
    tunnel: str
    upstream: str
    scope: str | None = None


def single(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return parameters by name; raises RequestError when one comes twice or is too long."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise RequestError("invalid_request", f"{name[:40]} was sent twice")
        if len(value) > MAX_VALUE or not value.isprintable():
            raise RequestError("invalid_request", f"{name[:40]} is too long or not printable")
        found[name] = value
    return found


def judge(sent: Mapping[str, str], redirect_uri: str, origins: Sequence[str]) -> AuthorizeRequest:
    """Judge a request whose agent and redirect are known to be good; raises RequestError."""
    if sent.get("response_type") != "code":
        raise RequestError("unsupported_response_type", "only response_type=code is supported")
    if sent.get("code_challenge_method") != "S256":
        raise RequestError("invalid_request", "PKCE with S256 is required")
    challenge = sent.get("code_challenge", "")
    if not _CHALLENGE.fullmatch(challenge):
        raise RequestError("invalid_request", "the code_challenge is not one of S256")
    if "request" in sent or "request_uri" in sent:
        raise RequestError("request_not_supported", "request objects are not supported")
    resource = sent.get("resource")
    if resource is None:
        raise RequestError("invalid_target", "name the server in the resource parameter")
    server = server_of(resource, origins)
    if server is None:
        raise RequestError("invalid_target", "the resource is not a server of this relay")
    return AuthorizeRequest(
        sent["client_id"],
        redirect_uri,
        sent.get("state"),
        challenge,
        resource,
        *server,
        sent.get("scope"),
    )


def verifies(challenge: str, verifier: str) -> bool:
    """Tell whether a PKCE verifier belongs to an S256 challenge (RFC 7636 section 4.6)."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    digest = hashlib.sha256(verifier.encode()).digest()
    made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return hmac.compare_digest(made, challenge)


def answer_uri(redirect_uri: str, issuer: str, state: str | None, **values: str) -> str:
    """Return where the browser goes with an answer: `iss` and `state` are in every one."""
    query = dict(values)
    if state is not None:
        query["state"] = state
    query["iss"] = issuer
    before, mark, own = redirect_uri.partition("?")
    return f"{before}?{own}{'&' if mark and own else ''}{urlencode(query)}"


def form_target(redirect_uri: str) -> str:
    """Return the source expression for a redirect (CSP level 3): its origin, or its scheme.

    The policy has no way to name an IPv6 address, so there it is the scheme.
    """
    url = urlsplit(redirect_uri)
    named = url.scheme in ("http", "https") and "[" not in url.netloc
    return f"{url.scheme}://{url.netloc}" if named else f"{url.scheme}:"


def shown_target(redirect_uri: str) -> str:
    """Return what people are told of where the answer goes."""
    url = urlsplit(redirect_uri)
    if url.scheme == "http":
        return "a program on this computer"
    return url.netloc if url.scheme == "https" else f"the app for {url.scheme}: links"
