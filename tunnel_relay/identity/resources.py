"""Servers as OAuth resources: their canonical names and the documents about them. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from shared.policy.classes import IN_ORDER, ToolClass

SCOPE = "mcp"
"""A whole server, within what the relay and the client allow."""
SCOPES = (SCOPE, *(f"{SCOPE}:{each}" for each in IN_ORDER if each is not ToolClass.BREAK_GLASS))
"""What agents may ask for at our own authorization server; `break_glass` is not advertised."""
PRM = "/.well-known/oauth-protected-resource"
"""RFC 9728; followed by the path of the resource."""
SERVER_PATH = re.compile(r"/t/([a-z0-9-]{1,63})/([a-z0-9-]{1,63})/mcp")


def server_of(resource: str, origins: Iterable[str]) -> tuple[str, str] | None:
    """Return tunnel and upstream of a canonical resource URI (RFC 8707), None for any other."""
    for origin in origins:
        if resource.startswith(origin):
            found = SERVER_PATH.fullmatch(resource[len(origin) :])
            if found is not None:
                return found[1], found[2]
    return None


def origins_by_host(public_urls: Sequence[str]) -> dict[str, str]:
    """Return which of the relay's origins a Host header means; hosts are in lower case."""
    found = {}
    for origin in public_urls:
        authority = urlsplit(origin).netloc.lower()
        found[authority] = origin
        if ":" not in authority.rpartition("]")[2]:
            found[f"{authority}:{443 if origin.startswith('https') else 80}"] = origin
    return found


def resource_metadata(
    resource: str, issuers: Sequence[str], scopes: Sequence[str] = (SCOPE,)
) -> dict[str, Any]:
    """Describe a protected resource (RFC 9728 section 2)."""
    described: dict[str, Any] = {
        "resource": resource,
        "authorization_servers": list(issuers),
        "bearer_methods_supported": ["header"],
    }
    if scopes:
        described["scopes_supported"] = list(scopes)
    return described


def server_metadata(issuer: str, *, registration: bool, documents: bool) -> dict[str, Any]:
    """Describe the relay's own authorization server (RFC 8414 section 2)."""
    described: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": [
            *("none", "client_secret_post", "client_secret_basic"),
        ],
        "revocation_endpoint_auth_methods_supported": [
            *("none", "client_secret_post", "client_secret_basic"),
        ],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": documents,
    }
    if registration:
        described["registration_endpoint"] = f"{issuer}/oauth/register"
    return described
