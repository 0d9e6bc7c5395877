"""The authorization request and the answer to it: PKCE, `state`, `iss`. Pure but for randomness.

Sources: RFC 6749 section 4.1, RFC 7636, RFC 8707, RFC 9207.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from shared.escape import one_line
from tunnel_client.connect.address import WebUrl
from tunnel_client.connect.discovery import LoginPlace
from tunnel_client.errors_connect import LoginRefusedError

MAX_CODE = 4096


def _random() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Authorization:
    """One login: what is asked, and what only we know until it is answered."""

    place: LoginPlace
    server: WebUrl
    client_id: str
    redirect_uri: str
    state: str = field(default_factory=_random, repr=False)
    verifier: str = field(default_factory=_random, repr=False)

    def url(self) -> str:
        """Return the address to open in the browser."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": self.state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "resource": self.server.text,
        }
        if self.place.scope is not None:
            asked["scope"] = self.place.scope
        endpoint = self.place.authorize.text
        return f"{endpoint}{'&' if self.place.authorize.query else '?'}{urlencode(asked)}"

    def is_ours(self, brought: Mapping[str, str]) -> bool:
        """Tell whether what a browser brought belongs to this login."""
        given = brought.get("state", "").encode(errors="replace")
        return hmac.compare_digest(given, self.state.encode())

    def code(self, brought: Mapping[str, str]) -> str:
        """Return the code out of an answer that is ours; raises LoginRefusedError."""
        issuer = brought.get("iss")
        if issuer != self.place.issuer and (issuer is not None or self.place.names_itself):
            raise LoginRefusedError("the answer to the login is of another authorization server")
        error = brought.get("error")
        if error is not None:
            text = brought.get("error_description", "")
            said = one_line(error, 100) + (f" ({one_line(text, 300)})" if text else "")
            raise LoginRefusedError(f"the login was refused: {said}")
        code = brought.get("code", "")
        if not 0 < len(code) <= MAX_CODE:
            raise LoginRefusedError("the answer to the login holds no code")
        return code

    def form(self, code: str) -> dict[str, str]:
        """Return what the token endpoint is sent for a code."""
        return {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "client_id": self.client_id,
            "code_verifier": self.verifier,
            "resource": self.server.text,
        }
