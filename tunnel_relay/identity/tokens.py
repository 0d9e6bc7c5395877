"""The token, revocation and registration endpoints: agents talk to them, not browsers."""

import base64
import binascii
import hmac
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import jiter
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.ids import REFRESH_PREFIX, SESSION_PREFIX, is_token, new_token
from shared.ids import token_digest as digest_of
from tunnel_relay.admin.service import Admin
from tunnel_relay.directory import may_open
from tunnel_relay.errors import Code as ErrorCode
from tunnel_relay.errors import RelayError
from tunnel_relay.identity.agents import AgentFinder
from tunnel_relay.identity.pending import Code, Kept
from tunnel_relay.identity.reading import read_body
from tunnel_relay.identity.requests import RequestError, single, verifies
from tunnel_relay.identity.resources import server_of
from tunnel_relay.identity.scopes import granted
from tunnel_relay.ratelimit import RateLimit, address_key
from tunnel_relay.settings import OAuth
from tunnel_relay.store.base import Agent, Door, Renewal, Session, StoreError, Token, TokenKind

MAX_REGISTRATION = 16 * 1024
RENEWALS = 1 / 60, 20
"""(a second, at once) for one session: each writes two rows, and leaves a token in memory."""
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_STATUS = {"invalid_client": 401, "temporarily_unavailable": 503, "slow_down": 429}

log = structlog.get_logger("tunnel_relay.oauth")


def refusal(error: RequestError, basic: bool = False) -> Response:
    """Answer as RFC 6749 section 5.2 says; `basic`: the agent used that scheme."""
    headers = dict(_NO_STORE)
    if error.wait:
        headers["Retry-After"] = str(math.ceil(error.wait))
    if basic and error.error == "invalid_client":
        headers["WWW-Authenticate"] = 'Basic realm="agents"'
    body = {"error": error.error, "error_description": error.text}
    return JSONResponse(body, _STATUS.get(error.error, 400), headers)


class TokenEndpoint:
    """Trades codes and refresh tokens in; `codes` are filled by the consent page."""

    def __init__(
        self,
        admin: Admin,
        settings: OAuth,
        finder: AgentFinder,
        codes: Kept[Code],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admin = admin
        self._settings = settings
        self._finder = finder
        self._codes = codes
        self._clock = clock
        self._registrations = RateLimit(10 / 60, 10)
        self._attempts = RateLimit(5.0, 60)
        self._renewals = RateLimit(*RENEWALS)

    async def token(self, request: Request) -> Response:
        """POST /oauth/token."""
        return await self._answer(request, self._grant)

    async def revoke(self, request: Request) -> Response:
        """POST /oauth/revoke (RFC 7009)."""
        return await self._answer(request, self._revoke)

    async def register(self, request: Request) -> Response:
        """POST /oauth/register (RFC 7591)."""
        address = request.client.host if request.client else ""
        wait = self._registrations.take(address_key(address), self._clock())
        if wait:
            return refusal(RequestError("slow_down", "too many registrations", wait))
        try:
            wanted = jiter.from_json(
                await read_body(request, MAX_REGISTRATION), catch_duplicate_keys=True
            )
            if not isinstance(wanted, dict):
                raise ValueError
            agent = self._finder.register(wanted, address)
        except RequestError as error:
            return refusal(error)
        except ValueError:
            return refusal(RequestError("invalid_client_metadata", "send one JSON object"))
        described = {
            "client_id": agent.id,
            "client_id_issued_at": int(agent.created),
            "client_name": agent.name,
            "redirect_uris": list(agent.redirect_uris),
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }
        return JSONResponse(described, 201, _NO_STORE)

    # Inside -------------------------------------------------------------------------------------

    async def _answer(
        self, request: Request, act: Callable[[Agent, dict[str, str]], Awaitable[dict[str, Any]]]
    ) -> Response:
        address = request.client.host if request.client else ""
        wait = self._attempts.take(address_key(address), self._clock())
        if wait:
            return refusal(RequestError("slow_down", "too many requests", wait))
        basic = "authorization" in request.headers
        try:
            if request.headers.get("content-type", "").split(";")[0].strip().lower() != (
                "application/x-www-form-urlencoded"
            ):
                raise RequestError("invalid_request", "send a form")
            body = (await read_body(request)).decode("ascii")
            sent = single(parse_qsl(body, keep_blank_values=True, strict_parsing=True))
            agent = self._authenticated(request, sent)
            return JSONResponse(await act(agent, sent), headers=_NO_STORE)
        except RequestError as error:
            return refusal(error, basic)
        except ValueError:
            return refusal(RequestError("invalid_request", "the form is malformed"))
        except RelayError as error:
            log.warning("session_refused", code=error.code, reason=error.message)
            own = error.code is ErrorCode.TOO_MANY_SESSIONS
            text = error.message if own else "no session can be opened for this user and server"
            return refusal(RequestError("invalid_grant", text))
        except StoreError as error:
            log.error("token_not_stored", error=str(error))
            return refusal(RequestError("temporarily_unavailable", "try again soon", 5))

    def _authenticated(self, request: Request, sent: dict[str, str]) -> Agent:
        client_id, secret = sent.get("client_id", ""), sent.get("client_secret")
        authorization = request.headers.get("authorization")
        if authorization is not None:
            if secret is not None:
                raise RequestError("invalid_request", "two ways to authenticate at once")
            name, secret = _basic(authorization)
            if client_id not in ("", name):
                raise RequestError("invalid_client", "two client ids")
            client_id = name
        agent = self._finder.known(client_id)
        if agent.secret is not None:
            given = digest_of(secret) if secret is not None and is_token(secret) else b""
            if not hmac.compare_digest(given, agent.secret):
                raise RequestError("invalid_client", "the client secret is wrong")
        return agent

    async def _grant(self, agent: Agent, sent: dict[str, str]) -> dict[str, Any]:
        kind = sent.get("grant_type")
        if kind == "authorization_code":
            return await self._first(agent, sent)
        if kind == "refresh_token":
            return await self._renewed(agent, sent)
        raise RequestError("unsupported_grant_type", "authorization_code or refresh_token")

    async def _first(self, agent: Agent, sent: dict[str, str]) -> dict[str, Any]:
        text, now = sent.get("code", ""), self._clock()
        code = self._codes.get(text, now)
        if code is None or code.request.agent != agent.id:
            raise RequestError("invalid_grant", "the code is unknown, used or too old")
        if code.used or now >= code.expires:
            code.replayed = code.used
            await self._replayed(code)
            raise RequestError("invalid_grant", "the code is unknown, used or too old")
        code.used = True
        self._codes.put(text, code, code.user, now)
        asked = code.request
        if sent.get("redirect_uri") != asked.redirect_uri:
            raise RequestError("invalid_grant", "the redirect_uri is another one")
        if not verifies(asked.challenge, sent.get("code_verifier", "")):
            raise RequestError("invalid_grant", "the code_verifier is not the one")
        self._same_server(sent, (asked.tunnel, asked.upstream))
        return await self._open(agent, code)

    async def _open(self, agent: Agent, code: Code) -> dict[str, Any]:
        admin, asked = self._admin, code.request
        user = admin.directory.active_user(code.user)
        if user is None or not self._may_open(code):
            raise RequestError("invalid_grant", "the user may not use this server any more")
        place = (asked.tunnel, asked.upstream)
        session = admin.new_session(
            user, agent.id, place, door=Door.OAUTH, classes=code.classes, granted_by=user.key
        )
        code.session = session.id
        access, refresh, tokens = self._new_tokens(session.id, session.expires)
        await admin.open_session(session, None, tokens)
        # While it was stored there was no session that could have ended.
        if code.replayed:
            await self._replayed(code)
        elif not self._may_open(code):
            await admin.end_sessions([session], "the user may not use this server any more")
        if admin.sessions.state(session.id, admin.clock()) is not None:
            raise RequestError("invalid_grant", "the session has ended")
        return self._told(access, refresh, tokens[0], session)

    def _may_open(self, code: Code) -> bool:
        user = self._admin.directory.active_user(code.user)
        tunnel = self._admin.tunnels.get(code.request.tunnel)
        return (
            user is not None
            and tunnel is not None
            and may_open(user, tunnel, code.request.upstream)
        )

    async def _renewed(self, agent: Agent, sent: dict[str, str]) -> dict[str, Any]:
        admin, text = self._admin, sent.get("refresh_token", "")
        wrong = RequestError("invalid_grant", "the refresh token is unknown, used or too old")
        if not (text.startswith(REFRESH_PREFIX) and is_token(text)):
            raise wrong
        session = await self._session_of(text, agent)
        # A lock may be lifted again: until then the token is kept, not used up.
        if session is None or admin.sessions.state(session.id, admin.clock()) is not None:
            raise wrong
        self._same_server(sent, (session.tunnel, session.upstream))
        wait = self._renewals.take(session.id, self._clock())
        if wait:
            raise RequestError("slow_down", "renewed too often", wait)
        access, refresh, tokens = self._new_tokens(session.id, session.expires)
        outcome, _ = await admin.store.renew(
            digest_of(text), agent.id, admin.clock(), tokens, admin.sessions.take_back
        )
        if outcome is Renewal.REUSED:
            log.error("refresh_token_reused", session=session.id[:12], agent=agent.id)
            await admin.end_sessions([session], "a refresh token was used twice")
        if outcome is Renewal.REPEATED:
            log.warning("refresh_repeated", session=session.id[:12], agent=agent.id)
        elif outcome is not Renewal.RENEWED:
            raise wrong
        if admin.sessions.state(session.id, admin.clock()) is not None:
            raise wrong  # it ended while we stored
        admin.sessions.add_token(tokens[0])
        return self._told(access, refresh, tokens[0], session)

    async def _revoke(self, agent: Agent, sent: dict[str, str]) -> dict[str, Any]:
        text = sent.get("token")
        if text is None:
            raise RequestError("invalid_request", "name the token")
        session = await self._session_of(text, agent)
        if session is not None and session.revoked is None:
            await self._admin.end_sessions([session], "the agent gave it back")
        return {}

    async def _session_of(self, text: str, agent: Agent) -> Session | None:
        """Return the session of an agent's token, whatever has become of either."""
        known = await self._admin.store.session_of(digest_of(text)) if is_token(text) else None
        session = self._admin.sessions.get(known) if known is not None else None
        return session if session is not None and session.agent == agent.id else None

    async def _replayed(self, code: Code) -> None:
        """A code that comes twice was stolen, by the first or by the second (RFC 9700 4.5)."""
        session = self._admin.sessions.get(code.session) if code.session else None
        if session is not None and session.revoked is None:
            log.error("code_reused", session=session.id[:12])
            await self._admin.end_sessions([session], "its authorization code was used twice")

    def _same_server(self, sent: dict[str, str], place: tuple[str, str]) -> None:
        resource = sent.get("resource")
        origins = self._admin.settings.public_url
        if resource is not None and server_of(resource, origins) != place:
            raise RequestError("invalid_target", "the resource is another one")

    def _new_tokens(self, session: str, ends: float) -> tuple[str, str, list[Token]]:
        access, refresh = new_token(SESSION_PREFIX), new_token(REFRESH_PREFIX)
        now = self._admin.clock()
        until = min(now + self._settings.access_ttl, ends)
        return (
            access,
            refresh,
            [
                Token(digest_of(access), session, TokenKind.ACCESS, now, until),
                Token(digest_of(refresh), session, TokenKind.REFRESH, now, ends),
            ],
        )

    def _told(self, access: str, refresh: str, token: Token, session: Session) -> dict[str, Any]:
        return {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": max(1, int(token.expires - token.created)),
            "refresh_token": refresh,
            "scope": granted(session.classes),
        }


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, rest = authorization.partition(" ")
    try:
        text = base64.b64decode(rest.strip(), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    name, found, secret = text.partition(":")
    if scheme.lower() != "basic" or not found:
        raise RequestError("invalid_client", "the Authorization header is malformed")
    return unquote_plus(name), unquote_plus(secret)
