"""An upstream that is shown a credential, or was started with one: what it answers is scrubbed.

Wraps an upstream of either kind; one without secrets is never wrapped, and pays nothing.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from shared.errors import ResetCode
from shared.jsonrpc.envelope import Kind, error_body
from tunnel_client.credentials.hits import Hits
from tunnel_client.credentials.keeper import Keeper, Keepers
from tunnel_client.credentials.scrub import Scrubber, Stream
from tunnel_client.upstream.base import (
    Exchange,
    Headers,
    HearsOfNoCredential,
    HearsOfSecrets,
    Reply,
    Upstream,
    UpstreamRequest,
)
from tunnel_client.upstream.http_request import BadInjectionError

if TYPE_CHECKING:
    from tunnel_client.credentials.vault import Vault

NO_CREDENTIAL = -31504
"""JSON-RPC code for a call that has no credential to go with; outside the reserved range."""
_PASSES = frozenset(
    {
        *(b"content-type", b"content-language", b"cache-control", b"expires", b"pragma"),
        *(b"vary", b"etag", b"last-modified", b"retry-after", b"allow", b"x-accel-buffering"),
        *(b"x-content-type-options", b"ratelimit", b"ratelimit-policy"),
    }
)
"""Fields of an answer that an agent may see; a length is none, because scrubbing changes it."""
_PASSES_PREFIXES = (b"mcp-", b"x-ratelimit-", b"ratelimit-")


class Credential:
    """What an HTTP upstream asks when it writes a request, and tells when it was refused."""

    def __init__(
        self, keepers: Keepers, vault: "Vault | None" = None, lists_as: str | None = None
    ) -> None:
        self.keepers = keepers
        self.lists_as = lists_as
        self._vault = vault

    def renew(self) -> None:
        """Fetch every value that is in use anew; raises ClientError when none can be fetched."""
        if self._vault is not None:
            self._vault.read_again()
        for keeper in self.keepers.all():
            keeper.renew()

    def headers(self, request: UpstreamRequest) -> Headers:
        """Return the fields to add; raises BadInjectionError rather than send none."""
        keeper = self.keepers.find(request.user)
        held = None if keeper is None else keeper.current()
        if held is None:
            raise BadInjectionError("there is no credential for this request")
        return held.headers

    def why_none(self, keeper: Keeper | None) -> tuple[str, str | None]:
        """Say why the client's own question has nothing to go with, and what to do."""
        problem = "too many wait for it" if keeper is None else keeper.problem or "it is not there"
        if not self.keepers.per_user:
            return f"no credential to ask with: {problem}", None
        if self.lists_as is None:
            return (
                "its credential is one for each user, and lists_as does not say whose to list with",
                'set lists_as = "USER" in its [upstream.credential]',
            )
        return (
            f"no credential for the user of lists_as: {problem}",
            "give that user one, or name another in lists_as of its [upstream.credential]",
        )

    def refused(self, request: UpstreamRequest) -> None:
        """Note that the upstream did not take the credential."""
        keeper = self.keepers.find(request.user)
        if keeper is not None:
            keeper.refused()


class GuardedUpstream:
    """Implements `base.Upstream`; `credential` is None for an upstream that a secret started."""

    def __init__(
        self,
        inner: Upstream,
        hits: Hits,
        about: dict[str, Any],
        credential: Credential | None = None,
        scrubber: Scrubber | None = None,
    ) -> None:
        self.name = inner.name
        self.inner = inner
        self.hits = hits
        self._about = about
        self._credential = credential
        self._scrubber = scrubber
        self.waiting: set[_Waiting] = set()
        self._last: tuple[Headers, Scrubber, Headers] | None = None

    async def start(self) -> None:
        """See `base.Upstream`."""
        await self.inner.start()

    def open(self, request: UpstreamRequest, reply: Reply) -> Exchange:
        """Begin one exchange, now or when its credential is there; see `base.Upstream`."""
        if self.hits.locked and self.hits.locks_out(request.session):
            return self._locked_out(request, reply)
        if self._credential is None:
            return self.inner.open(request, self._guard(reply, None, request.session))
        if request.own:
            # Never where an agent's call has no user: that call is nobody's.
            request.user = self._credential.lists_as
        keeper = self._credential.keepers.find(request.user)
        if keeper is not None and keeper.current() is not None:
            return self.inner.open(request, self._guard(reply, keeper, request.session))
        waiting = _Waiting(request, reply, keeper, self)
        self.waiting.add(waiting)
        if keeper is None or not keeper.wait(waiting.ready):
            self.ready(waiting, False)
        return waiting

    def end_session(self, session: str) -> None:
        """See `base.Upstream`."""
        for waiting in [each for each in self.waiting if each.request.session == session]:
            waiting.fail(ResetCode.REVOKED, "the session ended")
        self.inner.end_session(session)

    def lapse(self) -> int:
        """See `base.Upstream`."""
        return self.inner.lapse()

    async def aclose(self) -> None:
        """See `base.Upstream`."""
        try:
            if self._credential is not None:
                await self._credential.keepers.aclose()
        finally:
            await self.inner.aclose()  # whoever hurries us must not leave its processes

    def renew(self) -> None:
        """Fetch every credential that is in use anew, wherever it comes from.

        Raises ClientError when our own login at a vault cannot be read; all stays as it was then.
        """
        if self._credential is not None:
            self._credential.renew()

    def report(self) -> dict[str, Any]:
        """Return what `status` says of the credential; no secret and no user's name."""
        found = {**self._about, "scrub_hits": self.hits.count, "alarm": self.hits.alarm}
        found["locked_out"] = len(self.hits.locked)
        if self._credential is not None:
            keepers = self._credential.keepers.all()
            problems = sorted({each.problem for each in keepers if each.problem})
            found["problem"] = "; ".join(problems) or None
            if self._credential.keepers.per_user:
                found["users"] = len(keepers)
        return found

    def _guard(self, reply: Reply, keeper: Keeper | None, session: str) -> Reply:
        scrubber = self._scrubber if keeper is None else keeper.scrubber
        return reply if scrubber is None else GuardedReply(self, reply, scrubber, keeper, session)

    def _locked_out(self, request: UpstreamRequest, reply: Reply) -> Exchange:
        """Refuse once `open` has returned; the session is judged anew when its time is over."""
        waiting = _Waiting(request, reply, None, self)
        self.waiting.add(waiting)
        asyncio.get_running_loop().call_soon(waiting.ready, False)
        return waiting

    def clean_fields(self, headers: Headers, scrubber: Scrubber, session: str) -> Headers:
        """Return the fields an agent may see, scrubbed; most heads repeat."""
        last = self._last
        if last is not None and last[0] is headers and last[1] is scrubber:
            return last[2]
        kept: Headers = []
        found = 0
        for name, value in headers:
            if name in _PASSES or name.startswith(_PASSES_PREFIXES):
                named = len(scrubber.places(name))
                places = scrubber.places(value)
                found += named + len(places)
                if named:
                    continue  # a masked name would be no name
                kept.append((name, scrubber.clean(value) if places else value))
        if found:
            self.hits.add(found, session)
        else:
            self._last = headers, scrubber, kept
        return kept

    def ready(self, waiting: "_Waiting", good: bool) -> None:
        """Go on with an exchange that waited, or refuse it."""
        self.waiting.discard(waiting)
        if good:
            request = waiting.request
            guard = self._guard(waiting.reply, waiting.keeper, request.session)
            waiting.exchange = self.inner.open(request, guard)
        else:
            credential, reply = self._credential, waiting.reply
            if credential is not None and isinstance(reply, HearsOfNoCredential):
                reply.no_credential(*credential.why_none(waiting.keeper))
            _refuse(waiting.request, reply)
            waiting.over = True


class _Waiting:
    """An exchange whose credential is being fetched; implements `base.Exchange`."""

    __slots__ = ("_owner", "exchange", "keeper", "over", "reply", "request")

    def __init__(
        self,
        request: UpstreamRequest,
        reply: Reply,
        keeper: Keeper | None,
        owner: GuardedUpstream,
    ) -> None:
        self.request = request
        self.reply = reply
        self.keeper = keeper
        self._owner = owner
        self.exchange: Exchange | None = None
        self.over = False

    def ready(self, good: bool) -> None:
        """Go on, now that there is a credential or is known to be none."""
        if not self.over:
            self._owner.ready(self, good)

    def fail(self, code: ResetCode, detail: str) -> None:
        """End without an answer."""
        self._leave()
        self.reply.fail(code, detail)

    def resume(self) -> None:
        """See `base.Exchange`."""
        if self.exchange is not None:
            self.exchange.resume()

    def cancel(self) -> None:
        """See `base.Exchange`."""
        self._leave()
        if self.exchange is not None:
            self.exchange.cancel()

    def _leave(self) -> None:
        self.over = True
        self._owner.waiting.discard(self)
        if self.keeper is not None and self.exchange is None:
            self.keeper.leave(self.ready)


class GuardedReply:
    """A reply that takes secrets out of what goes to the agent."""

    __slots__ = ("_keeper", "_owner", "_reply", "_scrubber", "_seen", "_session", "_stream")

    def __init__(
        self,
        owner: GuardedUpstream,
        reply: Reply,
        scrubber: Scrubber,
        keeper: Keeper | None,
        session: str,
    ) -> None:
        self._session = session
        self._owner = owner
        self._reply = reply
        self._scrubber = scrubber
        self._keeper = keeper
        self._stream = Stream(scrubber)
        self._seen = 0

    def head(self, status: int, headers: Headers, end: bool = False) -> None:
        """Pass on the fields that may be seen; no length, because scrubbing changes it."""
        before = self._owner.hits.count
        fields = self._owner.clean_fields(headers, self._scrubber, self._session)
        self._tell(self._owner.hits.count - before)
        self._reply.head(status, fields, end)

    def data(self, chunk: bytes, end: bool = False) -> bool:
        """Pass on what is known to hold no secret; a little may be kept until more comes."""
        stream = self._stream
        out = stream.feed(chunk, end, None if self._keeper is None else self._keeper.scrubber)
        if stream.hits != self._seen:
            self._owner.hits.add(stream.hits - self._seen, self._session)
            self._tell(stream.hits - self._seen)
            self._seen = stream.hits
        return self._reply.data(out, end) if out or end else True

    def fail(self, code: ResetCode, detail: str) -> None:
        """End without an answer, or in the middle of one."""
        self._reply.fail(code, detail)

    def _tell(self, hits: int) -> None:
        if hits and isinstance(self._reply, HearsOfSecrets):
            self._reply.scrubbed(hits)


def _refuse(request: UpstreamRequest, reply: Reply) -> None:
    envelope = request.envelope
    known = None if envelope is None or envelope.kind is not Kind.REQUEST else envelope.id
    body = error_body(
        known,
        NO_CREDENTIAL,
        "The server cannot be called now",
        {"origin": "client", "delivery": "never_sent"},
    )
    reply.head(503, [(b"content-type", b"application/json")])
    reply.data(body, True)
