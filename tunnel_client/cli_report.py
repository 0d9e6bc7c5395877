"""The command `tunnel-client report`."""

import os
from pathlib import Path
from typing import Any

import click

from tunnel_client.cli_options import (
    SCHEMA_VERSION,
    config_option,
    json_option,
    look_at,
    show,
)


@click.command()
@config_option
@json_option
def report(config: Path | None, as_json: bool) -> None:
    """Say what the relay's security report cannot know: sandboxes, credential kinds, policy.

    \b
    Give it to whoever writes the report:
      tunnel-client report --json > client.json
      tunnel-relay report --client client.json
    No value of a secret is in it.
    """
    from tunnel_client.render import as_text
    from tunnel_client.report import gather

    facts: dict[str, Any] = gather(look_at(config), os.environ)
    facts["schema_version"] = SCHEMA_VERSION
    if not as_json:
        facts["policy"] = {**facts["policy"], "text": "only with --json"}
    show(facts if as_json else as_text(facts))
