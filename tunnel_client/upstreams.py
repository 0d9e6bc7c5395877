"""Makes an upstream of either kind from its configuration."""

from collections.abc import Mapping

from tunnel_client.errors import SettingsError
from tunnel_client.settings import UpstreamSettings, find_program
from tunnel_client.upstream.base import Upstream
from tunnel_client.upstream.http import HttpUpstream
from tunnel_client.upstream.http_target import BadTargetError, HttpLimits, target_from
from tunnel_client.upstream.stdio import StdioUpstream
from tunnel_client.upstream.stdio_command import StdioCommand, StdioLimits


def make_upstream(settings: UpstreamSettings, environ: Mapping[str, str]) -> Upstream:
    """Return the upstream, not started; raises NoProgramError and SettingsError.

    A program is looked up and a CA file is read here; nothing is run or dialled.
    """
    if settings.url is None:
        command = StdioCommand(
            argv=tuple(find_program(settings, environ)),
            cwd=None if settings.cwd is None else str(settings.cwd),
            inherit=tuple(settings.inherit_env),
            env=settings.env,
        )
        return StdioUpstream(settings.name, command, StdioLimits(children=settings.max_children))
    limits = HttpLimits(
        connect_seconds=settings.connect_timeout, head_seconds=settings.response_timeout
    )
    try:
        target = target_from(settings.url, settings.ca_file, limits=limits)
    except BadTargetError as error:
        raise SettingsError(f"upstream {settings.name}: {error}") from None
    return HttpUpstream(settings.name, target)
