"""Adds an upstream to `client.toml`, leaving all else in the file as its owner wrote it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tunnel_client.config_text import Value, with_upstream
from tunnel_client.errors import SettingsError, StateWriteError
from tunnel_client.files import write_private
from tunnel_client.settings import parse_settings, read_config


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
    try:
        parse_settings(text, path, environ)
    except SettingsError as error:
        # Nothing was written, so there is nothing to check there.
        raise SettingsError(error.cause, "tunnel-client upstream add --help") from None
    write_down()
    try:
        place = path.resolve(strict=True)
        write_private(place, text.encode(), like=place.stat())
    except OSError as error:
        raise StateWriteError(f"cannot write {path}: {error.strerror}") from None
