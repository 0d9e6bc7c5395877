"""Makes an upstream of either kind from its configuration."""

from collections.abc import Mapping

from tunnel_client.consent.guard import Guards
from tunnel_client.errors import SettingsError
from tunnel_client.settings import ClientSettings, UpstreamSettings
from tunnel_client.upstream.base import Upstream
from tunnel_client.upstream.http import HttpUpstream
from tunnel_client.upstream.http_target import BadTargetError, HttpLimits, target_from
from tunnel_client.upstream.stdio_command import StdioLimits
from tunnel_client.upstream.stdio_guarded import GuardedUpstream


def guards_of(settings: ClientSettings) -> Guards:
    """Return what decides about starts of stdio upstreams in this configuration."""
    return Guards(settings.state_dir, settings.own_files)


def make_upstream(
    settings: UpstreamSettings, environ: Mapping[str, str], guards: Guards
) -> Upstream:
    """Return the upstream, not started; raises NoProgramError and SettingsError.

    A program is looked up and a CA file is read here; nothing is run or dialled. Whether a program
    may be started is asked at each start: one that may not keeps nobody else from serving.
    """
    if settings.url is None:
        guard = guards.of(settings, environ)
        return GuardedUpstream(settings.name, guard, StdioLimits(children=settings.max_children))
    limits = HttpLimits(
        connect_seconds=settings.connect_timeout, head_seconds=settings.response_timeout
    )
    try:
        target = target_from(settings.url, settings.ca_file, limits=limits)
    except BadTargetError as error:
        raise SettingsError(f"upstream {settings.name}: {error}") from None
    return HttpUpstream(settings.name, target)
