"""Writes `client.toml`: the first one at enrolment, then no more of it than what changes."""

import json
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from shared.ids import is_name
from shared.tomllines import Statement, lines_by_path, statements
from tunnel_client.dial import DialTarget
from tunnel_client.errors import SettingsError

Value = str | int | float | list[str] | Mapping[str, "Value"]

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
) -> str:
    """Return the text of a new configuration file; paths are written absolute."""
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
    return f"{head}\n[relay]\n{_lines(table)}{_EXAMPLES}"


def with_values(text: str, values: Mapping[tuple[str, ...], Value | None]) -> str:
    """Return `text` with these values at their keys, of the top or of a table; None takes one out.

    The rest, comments included, stays as it is. Raises SettingsError when it cannot.
    """
    try:
        wanted, after = tomllib.loads(text), text
        for path, value in values.items():
            table = wanted if len(path) == 1 else wanted.setdefault(path[0], {})
            table.pop(path[-1], None) if value is None else table.update({path[-1]: value})
            after = _with_value(after, path, value)
        if tomllib.loads(after) == wanted:
            return after
    except (ValueError, AttributeError, TypeError, RecursionError):
        pass  # no TOML, or a value where a table should be
    keys = ", ".join(".".join(path) for path in values)
    raise SettingsError(
        f"{keys} cannot be changed without touching what else is in the file",
        "change it by hand, or move the file away",
    )


def _with_value(text: str, path: tuple[str, ...], value: Value | None) -> str:
    found = list(statements(text))
    own = next((each for each in found if each.path == path), None)
    if own is not None:
        if value is None:
            return text[: own.start] + text[own.end :]
        return text[: own.value[0]] + _toml(value) + text[own.value[1] :]
    keys = [each for each in found if each.path[:-1] == path[:-1] and not each.header]
    of_table = [each for each in found if each.path == path[:-1]] + keys
    if len(path) == 1 or not of_table:
        return _with_new(text, path, value)
    last = of_table[-1]
    if last.path == path[:-1] and not last.header:
        inline = {**tomllib.loads(text)[path[0]], path[-1]: value}
        kept = {key: each for key, each in inline.items() if each is not None}
        return text[: last.value[0]] + _toml(kept) + text[last.value[1] :]
    return text if value is None else _after(text, last, path[last.table :], value)


def _with_new(text: str, path: tuple[str, ...], value: Value | None) -> str:
    """Write a key of the top before all tables, one of a table that is not there behind all."""
    if value is None:
        return text
    if len(path) == 1:
        return _lines({path[0]: value}) + text
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}\n[{_key(path[0])}]\n{_lines({path[-1]: value})}"


def _after(text: str, last: Statement, keys: tuple[str, ...], value: Value) -> str:
    gap = "" if text[: last.end].endswith("\n") else "\n"
    line = f"{'.'.join(keys)} = {_toml(value)}\n"
    return f"{text[: last.end]}{gap}{line}{text[last.end :]}"


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
