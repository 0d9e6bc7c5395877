"""What SIGHUP reads again of upstreams: credentials, authorities, our own certificates.

What is under way goes on: open connections keep the certificate they began with, requests the
credential they were sent with. What cannot be read leaves the one before.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import anyio
import structlog

from shared.rereading import Part, what_broke
from tunnel_client.credentials.guarded import GuardedUpstream
from tunnel_client.credentials.make import check_key_file
from tunnel_client.errors import ClientError
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream.base import Upstream
from tunnel_client.upstream.http import HttpUpstream
from tunnel_client.upstream.http_target import HttpTarget
from tunnel_client.upstreams import target_of

log = structlog.get_logger("tunnel_client")


def parts_of(
    settings: Sequence[UpstreamSettings],
    upstreams: Mapping[str, Upstream],
    try_links: Callable[[], None],
) -> list[Part]:
    """Return what SIGHUP is about beside the policy; `try_links` tries those that were refused."""

    async def links() -> str:
        try_links()
        return ""

    async def files() -> str:
        good = await read_again(settings, upstreams)
        return "" if good else "files of an upstream refused"

    return [Part("links", links), Part("files of an upstream", files)]


async def read_again(
    settings: Iterable[UpstreamSettings], upstreams: Mapping[str, Upstream]
) -> bool:
    """Read files of HTTP upstreams and fetch their credentials anew; tells whether all were good.

    A credential is fetched while the one before serves; `status` says what became of it.
    """
    good = True
    for each in settings:
        if each.url is None:
            continue  # a program got its secrets when it was started
        try:
            target = await anyio.to_thread.run_sync(_target, each, each.url)
            upstream = upstreams[each.name]
            if isinstance(upstream, GuardedUpstream):
                upstream.renew()
        except ClientError as error:
            good = False
            log.error("the files of an upstream cannot be used", upstream=each.name, why=str(error))
            continue
        except Exception as error:  # noqa: BLE001 - the other upstreams have theirs read
            good = False
            why = what_broke(error)
            log.error("the files of an upstream cannot be used", upstream=each.name, why=why)
            continue
        inner = upstream.inner if isinstance(upstream, GuardedUpstream) else upstream
        if isinstance(inner, HttpUpstream):
            inner.dials(target)
    return good


def _target(settings: UpstreamSettings, url: str) -> HttpTarget:
    if settings.credential is not None:
        check_key_file(settings.credential)
    return target_of(settings, url)
