"""Makes an upstream of either kind from its configuration."""

from collections.abc import Mapping
from dataclasses import replace

from tunnel_client.consent.guard import Guards
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
from tunnel_client.settings import ClientSettings, UpstreamSettings
from tunnel_client.upstream.base import Upstream
from tunnel_client.upstream.egress import Egress
from tunnel_client.upstream.http import HttpUpstream
from tunnel_client.upstream.http_target import BadTargetError, HttpLimits, HttpTarget, target_from
from tunnel_client.upstream.stdio_command import StdioLimits
from tunnel_client.upstream.stdio_guarded import ConsentedUpstream


def guards_of(settings: ClientSettings) -> Guards:
    """Return what decides about starts of stdio upstreams in this configuration."""
    return Guards(settings.state_dir, settings.own_files)


def make_upstream(
    settings: UpstreamSettings,
    environ: Mapping[str, str],
    guards: Guards,
    vault: VaultSettings | None = None,
    *,
    absent: bool = False,
) -> Upstream:
    """Return the upstream, not started; raises ClientError for what is wrong with it.

    A program is looked up, CA files and secrets at hand are read here; nothing is run or dialled.
    Whether a program may be started is asked at each start: one that may not keeps nobody else
    from serving, nor does one that is not there when it may be `absent`.
    """
    if settings.url is None:
        return _stdio(settings, environ, guards, absent)
    credential = settings.credential
    if credential is None:
        return HttpUpstream(settings.name, target_of(settings, settings.url))
    check_origin(settings.name, settings.url, credential)
    check_key_file(credential)
    target = target_of(settings, settings.url)
    if credential.kind == "mtls":
        # Nothing of it is in a request, so there is nothing an answer could show.
        return HttpUpstream(settings.name, target)
    made = make_credential(settings.name, credential, vault, environ)
    inner = HttpUpstream(settings.name, target, made.headers, made.refused)
    return guard(settings.name, inner, credential, made)


def _stdio(
    settings: UpstreamSettings, environ: Mapping[str, str], guards: Guards, absent: bool
) -> Upstream:
    consented = guards.of(settings, environ, absent=absent)
    variables, secrets = secret_variables(settings.name, settings.env, settings.scrub, environ)
    # What was agreed to names where a secret is; what the program gets is the secret.
    consented.command = replace(consented.command, env=variables)
    limits = StdioLimits(children=settings.max_children)
    made = ConsentedUpstream(settings.name, consented, limits)
    return guard_child(settings.name, made, secrets, settings.scrub) if secrets else made


def target_of(settings: UpstreamSettings, url: str) -> HttpTarget:
    """Return where an HTTP upstream is and whom it is believed to be; raises SettingsError."""
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
