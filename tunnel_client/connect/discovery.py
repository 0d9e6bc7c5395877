"""Finds out where to log in, and trusts it no further than it fits (RFC 9728, RFC 8414).

1. The server's metadata comes from the server's own origin.
2. It is about exactly this server.
3. The authorization server's metadata is the issuer's own.
4. It promises PKCE with S256 (RFC 7636).
5. Every address is https, or on this machine when the server is, and harmless to a shell.
"""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import jiter

from tunnel_client.connect.address import WebUrl, reachable_from
from tunnel_client.connect.http import http_for, read_body, translated
from tunnel_client.errors_connect import BadServerUrlError, LoginMetadataError

MAX_DOCUMENT = 64 * 1024
FETCH_SECONDS = 5.0
MAX_SCOPE = 1000
_PARAMETER = re.compile(r'(?<![A-Za-z0-9_-])([a-z_]+)\s*=\s*"([^"\\]*)"')
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")
RESOURCE = "/.well-known/oauth-protected-resource"
SERVER = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class LoginPlace:
    """Where to log in for one server; `names_itself` says that answers carry `iss` (RFC 9207)."""

    issuer: str
    authorize: WebUrl
    token: WebUrl
    register: WebUrl | None
    revoke: WebUrl | None
    names_itself: bool
    scope: str | None


def challenge_values(challenge: str) -> dict[str, str]:
    """Return the quoted parameters of a WWW-Authenticate header; the first of a name counts."""
    found: dict[str, str] = {}
    for name, value in _PARAMETER.findall(challenge):
        found.setdefault(name, value)
    return found


async def discover(server: WebUrl, challenge: str, trust: ssl.SSLContext) -> LoginPlace:
    """Follow the metadata from a server's 401 to its login; raises ClientError."""
    said = challenge_values(challenge)
    resource = await _resource(server, said.get("resource_metadata"), trust)
    if not _same(resource.get("resource"), server):
        raise LoginMetadataError("the server's metadata is about another server")
    servers = resource.get("authorization_servers")
    if not isinstance(servers, list) or not servers or not isinstance(servers[0], str):
        raise LoginMetadataError("the server's metadata names no authorization server")
    scope = said.get("scope") or _scopes(resource.get("scopes_supported"))
    return await _place(server, servers[0], scope, trust)


async def _resource(server: WebUrl, named: str | None, trust: ssl.SSLContext) -> dict[str, Any]:
    if named is not None:
        url = _checked(named, server, "resource_metadata")
        if url.origin != server.origin:
            raise LoginMetadataError("the server names metadata of another origin")
        candidates = [url]
    else:
        paths = [RESOURCE + server.path.rstrip("/"), RESOURCE]
        candidates = [WebUrl.parse(server.origin + path) for path in dict.fromkeys(paths)]
    for url in candidates:
        found = await fetch(url, trust)
        if found is not None:
            return found
    raise LoginMetadataError("the server asks for a token and does not say where to get one")


async def _place(
    server: WebUrl, issuer: str, scope: str | None, trust: ssl.SSLContext
) -> LoginPlace:
    home = _checked(issuer, server, "issuer")
    if home.query:
        raise LoginMetadataError("the issuer has a query")
    for url in _metadata_of(home):
        found = await fetch(url, trust)
        if found is not None:
            break
    else:
        raise LoginMetadataError(f"{home.origin} has no metadata of an authorization server")
    if found.get("issuer") != issuer:
        raise LoginMetadataError("the authorization server's metadata is another issuer's")
    methods = found.get("code_challenge_methods_supported")
    if not isinstance(methods, list) or "S256" not in methods:
        raise LoginMetadataError("the authorization server does not promise PKCE with S256")

    def optional(key: str) -> WebUrl | None:
        return None if found.get(key) is None else _checked(found[key], server, key)

    return LoginPlace(
        issuer=issuer,
        authorize=_checked(found.get("authorization_endpoint"), server, "authorization_endpoint"),
        token=_checked(found.get("token_endpoint"), server, "token_endpoint"),
        register=optional("registration_endpoint"),
        revoke=optional("revocation_endpoint"),
        names_itself=found.get("authorization_response_iss_parameter_supported") is True,
        scope=scope if scope and len(scope) <= MAX_SCOPE and _SCOPE.fullmatch(scope) else None,
    )


def _metadata_of(issuer: WebUrl) -> Iterator[WebUrl]:
    """Yield where an issuer's metadata may be (RFC 8414 section 3.1, and OpenID's way)."""
    path = issuer.path.rstrip("/")
    for known in (SERVER, OPENID):
        yield WebUrl.parse(issuer.origin + known + path)
    if path:
        yield WebUrl.parse(issuer.origin + path + OPENID)


async def fetch(url: WebUrl, trust: ssl.SSLContext) -> dict[str, Any] | None:
    """Return a JSON object, None when there is none at this address; raises ClientError."""
    try:
        with anyio.fail_after(FETCH_SECONDS):
            async with (
                translated(url),
                http_for(url, trust) as http,
                http.stream("GET", url.text, headers={"Accept": "application/json"}) as response,
            ):
                if response.status_code in (401, 403, 404, 405):
                    return None
                if response.status_code != 200:
                    text = f"{url.text} answered with status {response.status_code}"
                    raise LoginMetadataError(text)
                return json_object(await read_body(response, MAX_DOCUMENT))
    except TimeoutError:
        raise LoginMetadataError(f"{url.text} did not answer in time") from None


def json_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object without duplicate keys; raises LoginMetadataError."""
    try:
        document = jiter.from_json(body, catch_duplicate_keys=True)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise LoginMetadataError("an answer about the login is not a JSON object")
    return document


def _checked(text: object, server: WebUrl, what: str) -> WebUrl:
    try:
        if isinstance(text, str):
            return reachable_from(text, server)
        raise BadServerUrlError("it is missing")
    except BadServerUrlError as error:
        raise LoginMetadataError(f"the server's {what}: {error.cause}") from None


def _same(text: object, server: WebUrl) -> bool:
    try:
        return isinstance(text, str) and WebUrl.parse(text) == server
    except BadServerUrlError:
        return False


def _scopes(listed: object) -> str | None:
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        return None
    return " ".join(listed) or None
