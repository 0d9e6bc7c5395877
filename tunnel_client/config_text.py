"""Writes `client.toml`: the first one at enrolment, then a table more or less for each upstream."""

import json
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from shared.ids import is_name
from shared.tomllines import lines_by_path
from tunnel_client.dial import DialTarget
from tunnel_client.errors import SettingsError

Value = str | int | float | list[str] | Mapping[str, "Value"]

_FIRST_UPSTREAM = re.compile(r"^\[\[\s*upstream\s*\]\]", re.MULTILINE)
_EXAMPLES = """
# Private MCP servers this client offers, one table each; `tunnel-client upstream add` appends one.
#
# [[upstream]]
# name = "files"
# url = "http://127.0.0.1:3000/mcp"        # or https://..., or "unix:/run/files.sock:/mcp"
# ca_file = "private-ca.pem"               # for https: trust this authority too
#
# [[upstream]]
# name = "time"
# command = ["/opt/mcp/bin/mcp-server-time"]   # stdio; an argv list, never a shell
# inherit_env = ["GIT_AUTHOR_NAME"]        # beside PATH, HOME and LANG a child sees only these
# env = { TZ = "UTC" }
# max_children = 32
#   [upstream.sandbox]                     # what the program may use beside itself and the system
#   read = ["/srv/data"]
#   hosts = ["api.example.com:443"]
"""


def first_config(
    relay: DialTarget,
    tunnel: str,
    relay_key: str,
    state_dir: Path,
    proxy_auth: str | None,
    upstreams: str = "",
) -> str:
    """Return the text of a new configuration file; paths are written absolute.

    `upstreams` is text kept from an older file, in place of the examples.
    """
    table: dict[str, Value] = {
        "url": relay.relay.origin,
        "tunnel": tunnel,
        "public_key": relay_key,
    }
    if relay.ca_file is not None:
        table["ca_file"] = str(relay.ca_file.absolute())
    if relay.proxy is not None:
        table["proxy"] = relay.proxy
    if proxy_auth is not None:
        table["proxy_auth"] = proxy_auth
    head = _lines({"state_dir": str(state_dir.absolute())})
    return f"{head}\n[relay]\n{_lines(table)}{_keep(upstreams) or _EXAMPLES}"


def upstreams_of(text: str) -> str:
    """Return the part of an older configuration that holds its upstreams, "" when it has none.

    Raises SettingsError when it cannot be cut out whole, so that nothing is lost in silence.
    """
    try:
        sections = tomllib.loads(text)
        if "upstream" not in sections and "vault" not in sections:
            return ""
        found = _FIRST_UPSTREAM.search(text)
        kept = text[found.start() :] if found else ""
        if set(tomllib.loads(kept)) == {"upstream"} and "vault" not in sections:
            return kept
    except (ValueError, RecursionError):
        pass
    raise SettingsError(
        "the upstreams of the old configuration cannot be carried over",
        "move the old file away, enroll again, and put its upstreams into the new one",
    )


def _keep(upstreams: str) -> str:
    return f"\n{upstreams}" if upstreams else ""


def with_upstream(text: str, upstream: Mapping[str, Value | None]) -> str:
    """Return `text` with an `[[upstream]]` table at its end; keys whose value is None are left out.

    The rest, comments included, stays as it is.
    """
    given = {key: value for key, value in upstream.items() if value is not None}
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}\n[[upstream]]\n{_lines(given)}"


def without_upstream(text: str, name: str) -> str:
    """Return `text` without the `[[upstream]]` table of this name; raises SettingsError.

    The rest, comments included, stays as it is; what stands in the table's own lines goes with it.
    """
    wanted = tomllib.loads(text)
    tables = wanted["upstream"]
    index = next(at for at, each in enumerate(tables) if each["name"] == name)
    del tables[index]
    if not tables:
        del wanted["upstream"]
    places = lines_by_path(text)
    own = [line for path, line in places.items() if path[:2] == ("upstream", index)]
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)  # TOML knows no other ends of lines
    if own:
        first, last = min(own) - 1, max(own)
        if first and not lines[first - 1].strip():
            first -= 1  # the one before it is of the table, as `with_upstream` writes it
        # A value may go on over lines: the fewest that leave all others what they were.
        for end in range(last, len(lines) + 1):
            left = "".join(lines[:first] + lines[end:])
            with suppress(tomllib.TOMLDecodeError):
                if tomllib.loads(left) == wanted:
                    return left
    raise SettingsError(
        f"upstream {name} cannot be taken out without touching what is not of it",
        "take it out of the file by hand",
    )


def _lines(values: Mapping[str, Value]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: Value) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_string(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_toml(item)}' for key, item in value.items())} }}"
    return repr(value)


def _string(text: str) -> str:
    if any(char < " " or char == "\x7f" for char in text) or not text.isprintable():
        raise SettingsError("text with control characters cannot be written to the configuration")
    # A JSON string without \u escapes is a TOML basic string (TOML 1.0, String).
    return json.dumps(text, ensure_ascii=False)


def _key(text: str) -> str:
    return text if is_name(text) else _string(text)
