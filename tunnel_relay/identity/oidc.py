"""Logging users in at an OpenID provider: the authorization code flow with PKCE.

What the browser is sent away with is used once, within ten minutes, and only by that browser. Who
comes back is known as issuer and subject; their groups decide what they may (`rights`).
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote_plus, urlencode

import structlog
from pydantic import SecretStr

from shared.ids import fingerprint, token_digest
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import RelayError
from tunnel_relay.identity.claims import Person, read_login
from tunnel_relay.identity.fetching import FetchError
from tunnel_relay.identity.pending import REQUEST_SECONDS, Kept
from tunnel_relay.identity.providers import Provider, endpoint
from tunnel_relay.identity.rights import Rules
from tunnel_relay.identity.signed import TokenError, check_signature, read
from tunnel_relay.settings_issuers import OidcSettings
from tunnel_relay.store.base import StoreError, User

EXCHANGES = 8
"""Codes that are traded in at a time, or wait for it; more are turned away."""
MAX_CODE = 4096

log = structlog.get_logger("tunnel_relay.oidc")


class LoginError(Exception):
    """A login that came to nothing; the text is for the user, `reason` for the log."""

    def __init__(self, text: str, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.text = text
        self.status = status


@dataclass(frozen=True, slots=True)
class Flow:
    """One browser that was sent to the provider."""

    browser: str = field(repr=False)
    next: str = field(repr=False)
    redirect_uri: str
    nonce: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(32))
    verifier: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(48))


class Back(NamedTuple):
    """Who came back, what for, and when they proved who they are, if the provider says."""

    user: User
    next: str
    logged_in: float | None


class OidcClient:
    """The relay as a client of one provider; `provider.run` keeps it informed."""

    def __init__(
        self,
        admin: Admin,
        settings: OidcSettings,
        secret: SecretStr | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = settings.name
        self.provider = Provider(
            settings.issuer, settings.algorithms, ca_file=settings.ca_file, clock=clock
        )
        self._admin = admin
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._rules = Rules(admin.settings)
        self._flows: Kept[Flow] = Kept(REQUEST_SECONDS)
        self._exchanging = 0

    def begin(
        self,
        browser: str,
        then: str,
        redirect_uri: str,
        source: str,
        asks: Mapping[str, str] | None = None,
    ) -> str:
        """Return where a browser goes; `then` is what `finish` gives back. Raises LoginError.

        `source` is what the login is counted under, of those that are begun and not finished;
        `asks` is what else the provider is asked for.
        """
        where = endpoint(self.provider, "authorization_endpoint")
        if not self.provider.ready or where is None:
            raise LoginError(
                f"{self.name} cannot be reached now. Try again soon.", "no metadata", 503
            )
        flow, state = Flow(browser, then, redirect_uri), secrets.token_urlsafe(32)
        if self._flows.put(state, flow, source, self._clock()):
            raise LoginError("Too many logins were begun. Try again soon.", "no place left", 429)
        challenge = hashlib.sha256(flow.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self._settings.scopes),
            "state": state,
            "nonce": flow.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **(asks or {}),
        }
        return f"{where}{'&' if '?' in where else '?'}{urlencode(query)}"

    async def finish(self, sent: Mapping[str, str], browser: str) -> Back:
        """Return who came back and what they came for; raises LoginError."""
        flow = self._flow(sent, browser)
        self._check_sender(sent)
        if "error" in sent:
            raise LoginError("The login was not completed. Start again.", "the provider refused")
        code = sent.get("code", "")
        if not 0 < len(code) <= MAX_CODE:
            raise LoginError("The login was not completed. Start again.", "no code")
        if self._exchanging >= EXCHANGES:
            raise LoginError("Too many logins at once. Try again soon.", "too many", 503)
        self._exchanging += 1
        try:
            person = await self._identified(code, flow)
        finally:
            self._exchanging -= 1
        return Back(await self._user(person), flow.next, person.logged_in)

    def _flow(self, sent: Mapping[str, str], browser: str) -> Flow:
        state = sent.get("state", "")
        flow = self._flows.get(state, self._clock())
        # Another browser's: it stays good for its own, or anybody could spoil a login.
        if flow is None or not secrets.compare_digest(flow.browser.encode(), browser.encode()):
            raise LoginError(
                "This login is over. Start again.", "unknown state, or not its browser"
            )
        self._flows.drop(state)
        return flow

    def _check_sender(self, sent: Mapping[str, str]) -> None:
        """Refuse an answer of another provider (RFC 9207)."""
        says = "authorization_response_iss_parameter_supported"
        issuer = sent.get("iss")
        if issuer != self._settings.issuer and (
            issuer is not None or self.provider.metadata.get(says) is True
        ):
            raise LoginError("The login was not completed. Start again.", "of another issuer")

    async def _identified(self, code: str, flow: Flow) -> Person:
        """Trade a code in and judge the ID token."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": flow.redirect_uri,
            "client_id": self._settings.client_id,
            "code_verifier": flow.verifier,
        }
        where = endpoint(self.provider, "token_endpoint")
        try:
            if where is None:
                raise FetchError("its metadata names no token endpoint")
            answer = await self.provider.fetcher.post(where, *self._authenticated(form))
            token = answer.get("id_token")
            if not isinstance(token, str):
                raise TokenError("there is no ID token")
            return await self._judged(token, flow)
        except (FetchError, TokenError) as error:
            text = "The login was not completed. Start again."
            raise LoginError(text, str(error), 502) from None

    async def _judged(self, token: str, flow: Flow) -> Person:
        said = read(token)
        if said.algorithm not in self._settings.algorithms or said.kind not in (None, "jwt"):
            raise TokenError("of another type, or signed in a way that is not allowed")
        key = self.provider.key(said.kid, said.algorithm)
        if key is None and self.provider.may_look:
            await self.provider.look()
            key = self.provider.key(said.kid, said.algorithm)
        if key is None or not self.provider.ready:
            raise TokenError("signed with a key that is not known")
        check_signature(said, key)
        return read_login(said.claims, self._settings, flow.nonce, self._admin.clock())

    def _authenticated(
        self, form: dict[str, str]
    ) -> tuple[dict[str, str], tuple[str, SecretStr] | None]:
        """Return the form and the login that go to the token endpoint (RFC 6749 section 2.3.1)."""
        if self._secret is None:
            return form, None
        ways = self.provider.metadata.get("token_endpoint_auth_methods_supported")
        if isinstance(ways, list) and "client_secret_basic" not in ways:
            return {**form, "client_secret": self._secret.get_secret_value()}, None
        secret = SecretStr(quote_plus(self._secret.get_secret_value()))
        return form, (quote_plus(self._settings.client_id), secret)

    async def _user(self, person: Person) -> User:
        """Bring the user up to date; whom no rule gives anything is not let in."""
        admin = self._admin
        rights = self._rules.rights(person.issuer, person.groups)
        refused = LoginError(
            "You are known there, but may use nothing here. Ask the relay's admin.",
            f"no rights: {fingerprint(token_digest(person.key))}",
            403,
        )
        if not rights and person.key not in admin.directory.users:
            raise refused
        try:
            await admin.vouch(person, rights)
        except (StoreError, RelayError) as error:
            text = "The relay cannot store this now. Try again soon."
            raise LoginError(text, type(error).__name__, 503) from None
        # As they are now: much may have changed while it was stored.
        user = admin.directory.active_user(person.key)
        if user is None:
            raise refused
        return user
