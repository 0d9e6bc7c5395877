"""Makes an upstream of either kind from its configuration."""

from collections.abc import Mapping

from tunnel_client.credentials.make import (
    check_key_file,
    check_origin,
    guard,
    guard_child,
    make_credential,
    secret_variables,
)
from tunnel_client.credentials.settings import VaultSettings
from tunnel_client.errors import SettingsError
from tunnel_client.settings import UpstreamSettings, find_program
from tunnel_client.upstream.base import Upstream
from tunnel_client.upstream.egress import Egress
from tunnel_client.upstream.http import HttpUpstream
from tunnel_client.upstream.http_target import BadTargetError, HttpLimits, HttpTarget, target_from
from tunnel_client.upstream.stdio import StdioUpstream
from tunnel_client.upstream.stdio_command import StdioCommand, StdioLimits


def make_upstream(
    settings: UpstreamSettings, environ: Mapping[str, str], vault: VaultSettings | None = None
) -> Upstream:
    """Return the upstream, not started; raises ClientError for what is wrong with it.

    A program is looked up, CA files and secrets at hand are read here; nothing is run or dialled.
    """
    if settings.url is None:
        return _stdio(settings, environ)
    credential = settings.credential
    if credential is None:
        return HttpUpstream(settings.name, _target(settings, settings.url))
    check_origin(settings.name, settings.url, credential)
    check_key_file(credential)
    target = _target(settings, settings.url)
    if credential.kind == "mtls":
        # Nothing of it is in a request, so there is nothing an answer could show.
        return HttpUpstream(settings.name, target)
    made = make_credential(settings.name, credential, vault, environ)
    inner = HttpUpstream(settings.name, target, made.headers, made.refused)
    return guard(settings.name, inner, credential, made)


def _stdio(settings: UpstreamSettings, environ: Mapping[str, str]) -> Upstream:
    variables, secrets = secret_variables(settings.name, settings.env, settings.scrub, environ)
    command = StdioCommand(
        argv=tuple(find_program(settings, environ)),
        cwd=None if settings.cwd is None else str(settings.cwd),
        inherit=tuple(settings.inherit_env),
        env=variables,
    )
    made = StdioUpstream(settings.name, command, StdioLimits(children=settings.max_children))
    return guard_child(settings.name, made, secrets, settings.scrub) if secrets else made


def _target(settings: UpstreamSettings, url: str) -> HttpTarget:
    credential = settings.credential
    certificate = None
    if credential is not None and credential.cert_file and credential.key_file:
        certificate = (credential.cert_file, credential.key_file)
    limits = HttpLimits(
        connect_seconds=settings.connect_timeout, head_seconds=settings.response_timeout
    )
    try:
        return target_from(
            url,
            settings.ca_file,
            limits=limits,
            egress=Egress.of(settings.addresses),
            certificate=certificate,
        )
    except BadTargetError as error:
        raise SettingsError(f"upstream {settings.name}: {error}") from None
