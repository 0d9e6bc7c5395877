"""Kinds of values in the relay's configuration. Pure."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from tunnel_relay.durations import parse_duration

_HOST = re.compile(r"[a-z0-9.-]+|[0-9a-f:.]+")
"""What may follow `https://`: it is printed inside commands to paste into a shell."""


def _seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _grace(value: object) -> object:
    return 0.0 if value in ("0", "0s") else _seconds(value)


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("write an absolute path")
    return path


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_anywhere(host: str) -> bool:
    """Tell whether a listener's host means every address of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def normal_origin(text: str) -> str:
    """Return `https://host[:port]` as browsers and clients write it; raises ValueError."""
    try:
        url = urlsplit(text.strip())
        host, port = url.hostname or "", url.port
    except ValueError:
        host, port = "", None
    if not _HOST.fullmatch(host) or url.scheme not in ("https", "http"):
        raise ValueError("write an origin like https://relay.example.com")
    if url.path not in ("", "/") or url.query or url.fragment or "@" in url.netloc:
        raise ValueError("write only https://host or https://host:port, without a path")
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError("http:// is for loopback only; use https://")
    shown = f"[{host}]" if ":" in host else host
    default = 443 if url.scheme == "https" else 80
    return f"{url.scheme}://{shown}" + (f":{port}" if port not in (None, default) else "")


def as_tuple(value: object) -> object:
    """Let one text stand for a list of it."""
    return (value,) if isinstance(value, str) else value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
Grace = Annotated[float, BeforeValidator(_grace), Field(ge=0, le=3600, allow_inf_nan=False)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Origin = Annotated[str, AfterValidator(normal_origin)]
