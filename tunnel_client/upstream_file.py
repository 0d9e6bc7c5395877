"""Adds an upstream to `client.toml` or takes one out, leaving all else as its owner wrote it."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from tunnel_client.config_text import Value, with_upstream, without_upstream
from tunnel_client.errors import SettingsError, StateWriteError
from tunnel_client.errors_upstreams import UnknownUpstreamError
from tunnel_client.files import write_private
from tunnel_client.settings import ClientSettings, find_program, parse_settings, read_config


def check_addition(
    path: Path, upstream: Mapping[str, Value | None], environ: Mapping[str, str]
) -> None:
    """Raise what adding it would, and NoProgramError when there is no such program to start."""
    text = with_upstream(read_config(path), upstream)
    for each in _parsed(text, path, environ).upstream:
        if each.name == upstream["name"] and each.url is None:
            find_program(each, environ)


def add_upstream(
    path: Path,
    upstream: Mapping[str, Value | None],
    environ: Mapping[str, str],
    write_down: Callable[[], None] = lambda: None,
) -> None:
    """Append an `[[upstream]]` table, if the whole file is then still valid.

    Keys whose value is None are left out. `write_down` is called when only the disk can still
    refuse. Raises SettingsError, UnsafeFileError, StateWriteError.
    """
    text = with_upstream(read_config(path), upstream)
    _parsed(text, path, environ)
    write_down()
    _write(path, text)


def remove_upstream(path: Path, name: str) -> None:
    """Take an `[[upstream]]` table out.

    Raises UnknownUpstreamError, SettingsError, UnsafeFileError, StateWriteError.
    """
    _write(path, _without(path, name))


def check_removal(path: Path, name: str) -> None:
    """Raise what removing it would, as far as that can be known before."""
    _without(path, name)


def _without(path: Path, name: str) -> str:
    text = read_config(path)
    tables = tomllib.loads(text).get("upstream", [])
    if not any(each.get("name") == name for each in tables):
        raise UnknownUpstreamError(f"no upstream is called {name}")
    return without_upstream(text, name)


def _parsed(text: str, path: Path, environ: Mapping[str, str]) -> ClientSettings:
    try:
        return parse_settings(text, path, environ)
    except SettingsError as error:
        # Nothing was written, so there is nothing to check there.
        raise SettingsError(error.cause, "tunnel-client upstream add --help") from None


def _write(path: Path, text: str) -> None:
    try:
        place = path.resolve(strict=True)
        write_private(place, text.encode(), like=place.stat())
    except OSError as error:
        raise StateWriteError(f"cannot write {path}: {error.strerror}") from None
