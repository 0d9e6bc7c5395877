"""Everything about a configuration that can be checked without connecting anywhere."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from tunnel_client.catalog.marks import read_marks
from tunnel_client.catalog.pins import read_pins
from tunnel_client.dial import choose_proxy, tls_context
from tunnel_client.errors import ClientError, NoProgramError
from tunnel_client.identity import Identity
from tunnel_client.policy.load import load_policy
from tunnel_client.settings import ClientSettings, dial_target
from tunnel_client.upstreams import guards_of, make_upstream


def check(settings: ClientSettings, environ: Mapping[str, str]) -> list[ClientError]:
    """Return every problem found beyond what the configuration's own shape tells; total."""
    refused = [stand.refusal for stand in standing(settings, environ) if stand.refusal]
    return check_files(settings, environ) + refused


def check_files(
    settings: ClientSettings, environ: Mapping[str, str], *, policy: bool = True
) -> list[ClientError]:
    """Return what of it would keep the client from starting, with `policy` or without; total."""
    steps: list[Callable[[], object]] = [
        lambda: Identity.read(settings.state_dir),
        lambda: tls_context(settings.relay.ca_file),
        lambda: choose_proxy(dial_target(settings.relay, environ)),
        *([lambda: load_policy(settings.policy)] if policy else []),
        lambda: read_pins(settings.state_dir),
        lambda: read_marks(settings.state_dir),
    ]
    guards = guards_of(settings)
    steps += [
        partial(make_upstream, upstream, environ, guards, settings.vault)
        for upstream in settings.upstream
    ]
    problems: list[ClientError] = []
    for step in steps:
        try:
            step()
        except ClientError as error:
            problems.append(error)
    return problems


@dataclass(frozen=True, slots=True)
class Stand:
    """How far the sandbox of a stdio upstream goes here, and why it would not be started."""

    name: str
    sandbox: str
    refusal: ClientError | None


def standing(settings: ClientSettings, environ: Mapping[str, str]) -> list[Stand]:
    """Return it for every stdio upstream whose program exists."""
    guards = guards_of(settings)
    found: list[Stand] = []
    for upstream in settings.upstream:
        if upstream.url is None:
            with suppress(NoProgramError):
                guard = guards.of(upstream, environ)
                found.append(Stand(upstream.name, str(guard.reached), guard.refusal()))
    return found


def serving_note(settings: ClientSettings) -> str:
    """Say in one line what this configuration would serve."""
    count = len(settings.upstream)
    names = ", ".join(upstream.name for upstream in settings.upstream) or "none yet"
    relay = settings.relay
    return f"tunnel {relay.tunnel} at {', '.join(relay.url)}, {count} upstream(s): {names}"
