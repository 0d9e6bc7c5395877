"""Everything about a configuration that can be checked without connecting anywhere."""

from collections.abc import Callable, Mapping
from functools import partial

from tunnel_client.catalog.pins import read_pins
from tunnel_client.dial import choose_proxy, tls_context
from tunnel_client.errors import ClientError
from tunnel_client.identity import Identity
from tunnel_client.policy.load import load_policy
from tunnel_client.settings import ClientSettings, dial_target
from tunnel_client.upstreams import make_upstream


def check(settings: ClientSettings, environ: Mapping[str, str]) -> list[ClientError]:
    """Return every problem found beyond what the configuration's own shape tells; total."""
    steps: list[Callable[[], object]] = [
        lambda: Identity.read(settings.state_dir),
        lambda: tls_context(settings.relay.ca_file),
        lambda: choose_proxy(dial_target(settings.relay, environ)),
        lambda: load_policy(settings.policy),
        lambda: read_pins(settings.state_dir),
    ]
    steps += [partial(make_upstream, upstream, environ) for upstream in settings.upstream]
    problems: list[ClientError] = []
    for step in steps:
        try:
            step()
        except ClientError as error:
            problems.append(error)
    return problems


def serving_note(settings: ClientSettings) -> str:
    """Say in one line what this configuration would serve."""
    count = len(settings.upstream)
    names = ", ".join(upstream.name for upstream in settings.upstream) or "none yet"
    relay = settings.relay
    return f"tunnel {relay.tunnel} at {relay.url}, {count} upstream(s): {names}"
