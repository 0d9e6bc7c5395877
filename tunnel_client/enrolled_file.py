"""What `enroll` makes of `client.toml`: the first one, or the one that is there, enrolled again.

Of a file that is there only what enrolment knows is changed, and it is kept as it was before.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunnel_client.config_text import Value, first_config, with_values
from tunnel_client.dial import DialTarget
from tunnel_client.errors import SettingsError, StateWriteError
from tunnel_client.files import write_private
from tunnel_client.relay_url import RelayUrl
from tunnel_client.settings import BEFORE, ClientSettings, parse_settings, read_config


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an enrolment knows; `proxy_auth` is the reference, its value is in `target`."""

    target: DialTarget
    tunnel: str
    relay_key: str
    state_dir: Path
    proxy_auth: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the file; `before` is how it was, where anything of it was changed."""

    settings: ClientSettings
    again: bool = False
    before: Path | None = None
    left_out: list[str] = field(default_factory=list)
    """Addresses of the relay that are not in it any more."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the file says that the relay is reached, and where the key is; None where it does not."""

    ca_file: Path | None = None
    proxy: str | None = None
    proxy_auth: str | None = None
    state_dir: Path | None = None


def way_of(path: Path) -> Way:
    """Return what the file at `path` says; nothing, when there is none or it cannot be read.

    Whoever writes it afterwards says what is wrong with it.
    """
    try:
        whole = tomllib.loads(read_config(path)) if path.exists() else {}
    except (ValueError, RecursionError, SettingsError):
        return Way()
    relay = _relay_of(whole)
    return Way(
        _place(path, relay.get("ca_file")),
        _text(relay.get("proxy")),
        _text(relay.get("proxy_auth")),
        _place(path, whole.get("state_dir")),
    )


def text_after(path: Path, old: str, new: Enrolment) -> str:
    """Return the text `old` of the file `path` with this enrolment in it; raises SettingsError.

    What it says already, in whatever words, is left as it stands.
    """
    try:
        whole = tomllib.loads(old)
    except (ValueError, RecursionError):
        parse_settings(old, path, {})  # raises, and says in which line
        raise
    relay, target = _relay_of(whole), new.target
    values: dict[tuple[str, ...], Value | None] = {}
    if target.relay not in (_address(url) for url in _urls(relay)):
        values["relay", "url"] = target.relay.origin
    told: dict[str, Value | None] = {
        "tunnel": new.tunnel,
        "public_key": new.relay_key,
        "proxy": target.proxy,
        "proxy_auth": new.proxy_auth,
    }
    values |= {("relay", key): value for key, value in told.items() if relay.get(key) != value}
    if target.ca_file is not None and _place(path, relay.get("ca_file")) != _whole(target.ca_file):
        values["relay", "ca_file"] = str(_whole(target.ca_file))
    if _place(path, whole.get("state_dir")) != _whole(new.state_dir):
        values[("state_dir",)] = str(_whole(new.state_dir))
    return with_values(old, values)


def check_file(path: Path, new: Enrolment, environ: Mapping[str, str]) -> None:
    """Refuse what could not be used afterwards, before the code is spent; raises SettingsError.

    `new` is of the same kind as what will come.
    """
    if not path.exists():
        parse_settings(_first(new), path, environ)
        return
    old = read_config(path)
    try:
        try:
            parse_settings(text_after(path, old, new), path, environ)
        except SettingsError:
            parse_settings(old, path, environ)  # knows the lines as they are now
            raise
    except SettingsError as error:
        mend = f"mend it, or move {path} away, and enroll again"
        raise SettingsError(error.cause, mend) from None


def write_file(path: Path, new: Enrolment, environ: Mapping[str, str]) -> Written:
    """Write the first file, or change the one that is there and keep it as it was beside it.

    Raises SettingsError, UnsafeFileError and StateWriteError.
    """
    try:
        if not path.exists():
            text = _first(new)
            write_private(path, text.encode())
            return Written(parse_settings(text, path, environ))
        old, place = read_config(path), path.resolve(strict=True)
        text, before = text_after(path, old, new), None
        if text != old:
            facts, before = place.stat(), place.with_name(place.name + BEFORE)
            write_private(before, old.encode(), owner=facts)
            write_private(place, text.encode(), like=facts)
    except OSError as error:
        raise StateWriteError(f"cannot write {path}: {error.strerror}") from None
    urls = _urls(_relay_of(tomllib.loads(text)))
    left_out = [url for url in _urls(_relay_of(tomllib.loads(old))) if url not in urls]
    return Written(parse_settings(text, path, environ), True, before, left_out)


def _first(new: Enrolment) -> str:
    return first_config(new.target, new.tunnel, new.relay_key, new.state_dir, new.proxy_auth)


def _relay_of(whole: Mapping[str, Any]) -> dict[str, Any]:
    relay = whole.get("relay")
    return relay if isinstance(relay, dict) else {}


def _urls(relay: Mapping[str, Any]) -> list[str]:
    said = relay.get("url")
    return [str(url) for url in (said if isinstance(said, list) else [said]) if url is not None]


def _address(url: str) -> RelayUrl | None:
    try:
        return RelayUrl.parse(url)
    except ValueError:
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _place(path: Path, value: object) -> Path | None:
    """Return the file or folder that is meant: as settings are, it is below that of `path`."""
    if not isinstance(value, str):
        return None
    return path.absolute().parent / Path(value).expanduser()


def _whole(path: Path) -> Path:
    return path.absolute()
