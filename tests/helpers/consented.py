"""Upstreams for tests of anything but consent: agreed to already, and without a sandbox."""

import atexit
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.helpers.sandboxes import agree
from tunnel_client.consent.guard import Guards
from tunnel_client.credentials.settings import VaultSettings
from tunnel_client.settings import UpstreamSettings
from tunnel_client.settings_sandbox import SandboxSettings
from tunnel_client.upstream.base import Upstream
from tunnel_client.upstreams import make_upstream

_FOLDER = tempfile.TemporaryDirectory(prefix="consents-")
atexit.register(_FOLDER.cleanup)


def guards() -> Guards:
    """Return guards whose consents nobody else sees."""
    return Guards(Path(_FOLDER.name), ())


def make_consented(
    settings: UpstreamSettings,
    environ: Mapping[str, str],
    vault: VaultSettings | None = None,
) -> Upstream:
    """Make an upstream as the client does, once somebody has agreed to it."""
    made = guards()
    if settings.url is None:
        settings = settings.model_copy(update={"sandbox": SandboxSettings(level="off")})
        agree(made.of(settings, environ), dangers=True)
    return make_upstream(settings, environ, made, vault)
