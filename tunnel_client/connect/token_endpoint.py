"""Talks to an authorization server: codes and refresh tokens, registration, giving back."""

import ssl
from collections.abc import Mapping
from typing import Any

import anyio
import httpx2

from shared.escape import one_line
from tunnel_client.connect.address import WebUrl
from tunnel_client.connect.discovery import MAX_DOCUMENT, json_object
from tunnel_client.connect.http import http_for, read_body, translated
from tunnel_client.errors_connect import LoginMetadataError, LoginRefusedError, ServerAnswerError

ANSWER_SECONDS = 15.0
CLIENT_NAME = "tunnel-client connect"
MAX_CLIENT_ID = 2048


class OAuthError(LoginRefusedError):
    """An error answer of the authorization server; `error` is its word for it."""

    def __init__(self, status: int, error: str, text: str) -> None:
        super().__init__(f"the authorization server refused: {error}{f' ({text})' if text else ''}")
        self.status = status
        self.error = error

    @property
    def is_final(self) -> bool:
        """Whether what was sent will never be good again."""
        final = ("invalid_grant", "invalid_client", "unauthorized_client", "invalid_target")
        return self.status in (400, 401, 403) and self.error in final


async def post_form(url: WebUrl, form: Mapping[str, str], trust: ssl.SSLContext) -> dict[str, Any]:
    """Send a form and return the JSON object that comes; raises OAuthError and ClientError."""
    return await _post(url, trust, data=dict(form))


async def register(url: WebUrl, redirect_uri: str, trust: ssl.SSLContext) -> str:
    """Register as a new agent (RFC 7591) and return the client id; raises as `post_form`."""
    wanted = {
        "client_name": CLIENT_NAME,
        "redirect_uris": [redirect_uri],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
    made = await _post(url, trust, json=wanted)
    client_id = made.get("client_id")
    if not isinstance(client_id, str) or not 0 < len(client_id) <= MAX_CLIENT_ID:
        raise LoginMetadataError("the authorization server registered us without a client id")
    return client_id


async def give_back(url: WebUrl, token: str, client_id: str, trust: ssl.SSLContext) -> None:
    """Revoke a token and what came with it (RFC 7009); raises as `post_form`."""
    form = {"token": token, "client_id": client_id}
    await _post(url, trust, data=form, empty=True)


async def _post(
    url: WebUrl, trust: ssl.SSLContext, *, empty: bool = False, **content: Any
) -> dict[str, Any]:
    headers = {"Accept": "application/json"}
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            async with (
                translated(url),
                http_for(url, trust) as http,
                http.stream("POST", url.text, headers=headers, **content) as response,
            ):
                body = await read_body(response, MAX_DOCUMENT)
    except TimeoutError:
        raise ServerAnswerError(f"{url.origin} did not answer in time") from None
    if not response.is_success:
        raise _refusal(response, body)
    return {} if empty else json_object(body)


def _refusal(response: httpx2.Response, body: bytes) -> OAuthError:
    try:
        said = json_object(body)
    except LoginMetadataError:
        said = {}
    error, text = said.get("error"), said.get("error_description")
    known = error if isinstance(error, str) else f"status {response.status_code}"
    # A person reads it beside our own words: a line of its own could pose as those.
    told = one_line(text, 300) if isinstance(text, str) else ""
    return OAuthError(response.status_code, one_line(known, 100), told)
