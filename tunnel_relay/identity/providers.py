"""What is known of one issuer, kept fresh in the background: its metadata and its keys.

A verdict never waits for a fetch. A key that vanished from the set is refused from the next fetch
on; when fetching fails the keys before stay good for a day, and then nothing is known any more.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import structlog
from jwt import PyJWK

from shared.backoff import Backoff
from tunnel_relay.errors import Code
from tunnel_relay.identity.fetching import DEADLINE, Fetcher, FetchError
from tunnel_relay.identity.key_sets import KeySet, read_key_set
from tunnel_relay.settings_issuers import is_provider_url

EVERY = 300.0
SPACING = 10.0
"""Fetches are at least so far apart, however many unknown keys are named."""
MAX_AGE = 86400.0
LOOK_SECONDS = 2 * DEADLINE
"""The longest wait for a fetch: mostly metadata, and the keys."""
_RETRY = Backoff(base=5.0, cap=60.0)

Vanished = frozenset[tuple[str, str]]
log = structlog.get_logger("tunnel_relay.issuers")


class Provider:
    """One issuer; `run` in a task group. `on_change` is told which keys are no more."""

    def __init__(
        self,
        url: str,
        algorithms: tuple[str, ...],
        *,
        jwks_url: str | None = None,
        ca_file: Path | None = None,
        on_change: Callable[[Vanished], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self.fetcher = Fetcher(ca_file)
        self.metadata: Mapping[str, Any] = {}
        self._algorithms = algorithms
        self._jwks_url = jwks_url
        self._on_change = on_change
        self._clock = clock
        self._keys: KeySet = {}
        self._fetched: float | None = None
        self._began: float | None = None
        self._fetching = False
        self._problem: str | None = None
        self._wanted = anyio.Event()
        self._done = anyio.Event()

    @property
    def ready(self) -> bool:
        """Are there keys that may be believed?"""
        return self._fetched is not None and self._clock() < self._fetched + MAX_AGE

    def key(self, kid: str, algorithm: str) -> PyJWK | None:
        """Return the key of this name, if it is for this algorithm."""
        return self._keys.get((kid, algorithm))

    @property
    def may_look(self) -> bool:
        """May one wait for a fetch because of a key that is not known?"""
        if self._fetching or self._began is None:
            return True
        return self._clock() >= self._began + SPACING

    async def look(self) -> None:
        """Wait until the keys were fetched once more, or that failed; bounded."""
        self._wanted.set()
        with anyio.move_on_after(LOOK_SECONDS):
            await self._done.wait()

    async def run(self) -> None:
        """Fetch, again and again, until cancelled."""
        failures = 0
        while True:
            self._wanted = anyio.Event()
            failures = 0 if await self.fetch() else failures + 1
            with anyio.move_on_after(_RETRY.ceiling(failures) if failures else EVERY):
                await self._wanted.wait()
            if self._began is not None:
                await anyio.sleep(max(0.0, self._began + SPACING - self._clock()))

    async def fetch(self) -> bool:
        """Fetch metadata and keys once; False when that failed, which the log explains."""
        self._began, self._fetching = self._clock(), True
        try:
            if self._jwks_url is None:
                self.metadata = await self._discover()
            where = self._jwks_url or str(self.metadata["jwks_uri"])
            self._take(read_key_set(await self.fetcher.get(where), self._algorithms))
        except (FetchError, ValueError) as error:
            self._problem = str(error)
            log.error(
                "issuer_keys_not_fetched",
                code=Code.ISSUER_UNREACHABLE,
                issuer=self.url,
                reason=str(error),
            )
            if not self.ready:
                self._take({}, fetched=False)
            return False
        finally:
            self._fetching = False
            self._done.set()
            self._done = anyio.Event()
        self._problem = None
        return True

    def facts(self) -> dict[str, Any]:
        """Return what `status` shows: JSON values; `age` in seconds since the last good fetch."""
        age = None if self._fetched is None else round(self._clock() - self._fetched)
        return {
            "issuer": self.url,
            "ready": self.ready,
            "keys": len({kid for kid, _ in self._keys}),
            "age": age,
            "problem": self._problem,
        }

    def _take(self, keys: KeySet, *, fetched: bool = True) -> None:
        before, self._keys = self._keys, keys
        self._fetched = self._clock() if fetched else None
        gone = frozenset(name for name, key in before.items() if not _same(key, keys.get(name)))
        if gone or keys.keys() != before.keys():
            log.info("issuer_keys", issuer=self.url, keys=len(keys), vanished=len(gone))
            self._on_change(gone)

    async def _discover(self) -> Mapping[str, Any]:
        problem = ""
        for where in metadata_urls(self.url):
            try:
                described = await self.fetcher.get(where)
            except FetchError as error:
                problem = problem or f"its metadata: {error}"
                continue
            # To the letter: a document of another issuer is not believed (RFC 8414 section 3.3).
            if described.get("issuer") != self.url:
                problem = "its metadata names another issuer"
                continue
            found = described.get("jwks_uri")
            if not isinstance(found, str) or not _as_safe(found, self.url):
                raise FetchError("its metadata has no jwks_uri that is served by https")
            return described
        raise FetchError(problem)


def metadata_urls(issuer: str) -> list[str]:
    """Return where an issuer's metadata may be (RFC 8414, OpenID Connect Discovery)."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    found = [
        f"{origin}{path}/.well-known/openid-configuration",
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
    ]
    return list(dict.fromkeys(found))


def _as_safe(url: str, issuer: str) -> bool:
    """Tell whether an address that metadata names is fetched as safely as the metadata was."""
    safe = url.startswith("https:") or urlsplit(url)[:2] == urlsplit(issuer)[:2]
    return is_provider_url(url) and safe


def endpoint(provider: Provider, name: str) -> str | None:
    """Return an address that the metadata names, None when it cannot be used."""
    found = provider.metadata.get(name)
    return found if isinstance(found, str) and _as_safe(found, provider.url) else None


def _same(one: PyJWK, other: PyJWK | None) -> bool:
    return other is not None and bool(one.key == other.key)
